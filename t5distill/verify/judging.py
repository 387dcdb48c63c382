"""The verdict on one text: the one definition of "correct" in the project."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from t5distill.records import KINDS, Verdict
from t5distill.verify import choice, dates, latex, numeric, strings, yes_no
from t5distill.verify.markers import Piece, in_last_statement, last_statement, marked_pieces
from t5distill.verify.plain import own_part, plain
from t5distill.verify.readings import Reading

# Raised where some text may be judged differently than before; scores of two versions are not
# compared without a look at what changed.
VERSION = 1

# A label that may head a whole chain.
_LABEL = re.compile(r"\W*answer ?:\W*", re.IGNORECASE)


class _Reader(NamedTuple):
    """The functions that know one kind of answer; `prepare` sees the text before all others."""

    marked: Callable[[Piece], Reading]
    last: Callable[[Piece], Reading]
    gold: Callable[[str], Any]
    same: Callable[[Any, Any], bool]
    prepare: Callable[[str], str] = str
    heads_chain: Callable[[Piece, str], bool] = lambda *_: False


class _Finding(NamedTuple):
    """What a text answers: a reading with a value, or an outcome without one."""

    reading: Reading | None
    outcome: str | None
    extraction: str
    detail: str


def judge(
    text: str,
    gold: str,
    kind: str,
    *,
    choices: Sequence[str] | None = None,
    finished: bool = True,
) -> Verdict:
    """Compare the final answer of a chain of thought with the gold one.

    Args:
      text: a chain or a bare answer, plain, on one line or many.
      gold: the gold answer as `Problem.answer` has it: a decimal or fraction (an expression such as
        `( 84.0 / 2.0 )` too), an option letter, `yes` or `no`, a date, a string, a formula.
      kind: one of `records.KINDS`.
      choices: option texts, lettered A, B, ... by position.
      finished: False where decoding stopped at its length limit. Then only an answer that stands
        after a mark and is complete counts; without one the outcome is `truncated`.

    Returns:
      a verdict without `problem_id` and `sample`. Its outcome is `correct`, `wrong`, `no_answer`,
      `truncated`, or `error` where the gold answer cannot be read or something failed inside: no
      exception ever turns into `wrong`.
    """
    try:
        reader = _reader(kind, choices)
        try:
            wanted = reader.gold(plain(gold))
        except (ValueError, AttributeError, TypeError) as e:
            detail = f"the gold answer cannot be read as {kind}: {e}"
            return Verdict(outcome="error", gold=_text(gold), detail=detail)
        finding = _find(text, reader, finished=finished)
        if finding.reading is None:
            return Verdict(outcome=finding.outcome, gold=gold, detail=finding.detail)
        right = reader.same(finding.reading.value, wanted)
        return Verdict(
            outcome="correct" if right else "wrong",
            answer=finding.reading.text,
            gold=gold,
            extraction=finding.extraction,
            detail=finding.reading.why or finding.detail,
        )
    except Exception as e:  # a fault of ours must not look like a fault of the student
        return Verdict(outcome="error", gold=_text(gold), detail=f"{type(e).__name__}: {e}")


def extract(
    text: str, kind: str, *, choices: Sequence[str] | None = None, finished: bool = True
) -> Verdict:
    """Return the final answer of a text where there is no gold one; the outcome is None.

    A text without an answer has the outcome that `judge` would give it.
    """
    try:
        finding = _find(text, _reader(kind, choices), finished=finished)
        if finding.reading is None:
            return Verdict(outcome=finding.outcome, detail=finding.detail)
        return Verdict(
            answer=finding.reading.text, extraction=finding.extraction, detail=finding.detail
        )
    except Exception as e:  # as in judge
        return Verdict(outcome="error", detail=f"{type(e).__name__}: {e}")


def _text(gold: object) -> str:
    return gold if isinstance(gold, str) else repr(gold)


def _reader(kind: str, choices: Sequence[str] | None) -> _Reader:
    """Return the functions that know one kind of answer."""
    if kind == "choice":
        options = choice.Options(choices)
        return _Reader(
            lambda piece: choice.marked(piece, options),
            lambda piece: choice.last(piece, options),
            lambda text: choice.gold(text, options),
            choice.same,
            options.without_ends,
        )
    modules = {
        "numeric": numeric,
        "yes_no": yes_no,
        "date": dates,
        "string": strings,
        "latex": latex,
    }
    if kind not in modules:
        raise ValueError(f"kind is {kind!r}, wanted one of {', '.join(KINDS)}")
    module = modules[kind]
    reader = _Reader(module.marked, module.last, module.gold, module.same)
    return reader._replace(heads_chain=numeric.heads_chain) if kind == "numeric" else reader


def _find(text: str, reader: _Reader, *, finished: bool) -> _Finding:
    """Find the answer of a text: after the last complete mark, else in the last statement."""
    whole = reader.prepare(plain(text))
    text = own_part(whole)
    ended = finished or len(text) < len(whole)  # a new question follows: this chain had ended
    latest: tuple[Piece, Reading] | None = None
    for piece in marked_pieces(text):
        reading = reader.marked(piece)
        latest = latest or (piece, reading)
        if _heads_chain(text, piece, reader):
            break  # "Answer: John had 3 apples. He bought 2. 3 + 2 = 5. He has 5."
        cut_off = not ended and not piece.closed and reading.at_end
        if reading.status == "empty" or cut_off:
            continue
        if reading.status == "undecided":
            if not ended and not piece.closed:
                continue
            return _Finding(None, "no_answer", "none", f"After the answer mark: {reading.why}.")
        extraction = "equation" if reading.equation else "marker"
        return _Finding(reading, None, extraction, "Read after an answer mark.")
    if not finished:
        return _Finding(None, "truncated", "none", "Cut off before a complete marked answer.")
    headed = latest and _heads_chain(text, latest[0], reader)
    if latest and not headed and in_last_statement(text, latest[0].start):
        why = latest[1].why or "nothing follows it"
        return _Finding(None, "no_answer", "none", f"There is an answer mark, but {why}.")
    statement = last_statement(text)
    if statement is None:
        return _Finding(None, "no_answer", "none", "The text is empty.")
    if statement.closer == "?":
        return _Finding(None, "no_answer", "none", "The text ends in a question.")
    reading = reader.last(statement)
    if reading.status != "value":
        return _Finding(None, "no_answer", "none", f"No answer mark: {reading.why}.")
    return _Finding(reading, None, "last", "No answer mark; read from the last statement.")


def _heads_chain(text: str, piece: Piece, reader: _Reader) -> bool:
    """Tell whether a label opens the text and heads a chain, which `piece` only begins.

    The policy says that the first quantity after a mark counts; this label marks the whole text.
    """
    label = piece.closed and piece.start < 40 and _LABEL.fullmatch(text[: piece.start])
    return bool(label) and reader.heads_chain(piece, text[piece.end :])
