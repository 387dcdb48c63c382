"""Cut off what follows a chain: another question, another speaker, a sentence without an end.

98 to 100 % of PaLM's published chains run on into a question of the model's own making, and a reply
that met its length limit ends in the middle of a sentence. A student would learn to write both.
"""

from __future__ import annotations

import re

from t5distill.verify.markers import last_statement
from t5distill.verify.plain import SAME_LENGTH, own_part

# The emphasis around a "**Q:**" goes, one character for one, so that positions stay true.
_MASK = {**SAME_LENGTH, ord("*"): " ", ord("_"): " "}

# What tokenizers and chat templates write where a text ends or somebody else begins.
_END_MARK = re.compile(
    r"</s>|<pad>|<eos>|<end_of_turn>|\[INST\]|<\|[a-z_]{2,20}\|>|<｜[^｜>]{2,30}｜>"
)
# Somebody else speaks, in the forms that instruction data has; "Human: 2" is a row of a table.
_TURN = re.compile(
    r"\n[ #*>]{0,8}(?:Human|User|Assistant|Instruction|Input)\b[ *]{0,4}:(?!\s{0,4}[\d$])"
)
# A rule below the chain, and the number of an item that never came.
_LEFT_OVER = re.compile(r"\n\s{0,8}(?:[-*_=]{3,80}|\d{1,3}[.)])$")
_STATEMENT = re.compile(r"(?:[^.!?\n]|[.!?](?!\s|$))+[.!?]*\s*|[.!?\n]+\s*")
_MARK = re.compile(r"\banswers?\b|####|\\boxed", re.IGNORECASE)

# What a program says in passing: docstrings, and lines that are comments.
_REMARK = re.compile(
    r"(?P<q>\"{3}|'{3})(?:\\.|(?!(?P=q))[^\\])*(?P=q)|^[ \t]*#[^\n]*", re.MULTILINE | re.DOTALL
)

# Programs and equations have no sentences.
_WRITTEN_IN_LINES = ("program", "equation")


def cut(text: str, *, style: str = "cot", finished: bool = True) -> tuple[str, bool]:
    """Return a chain without what follows it, and whether what is left had come to its end.

    Args:
      text: a teacher's reply.
      style: of the chain.
      finished: False where the reply met its length limit. A last sentence without an end is then
        cut off, unless nothing else is there.

    Returns:
      The text without spaces around it; and `finished`, or True where the chain was followed by
      another question or speaker, so that it had ended before the limit.
    """
    text, at_mark = _before_end_mark(text.strip())
    remarked = _REMARK.sub(_blank, text) if style == "program" else text
    end = _next_turn(remarked.translate(_MASK))
    ended = finished or at_mark or end < len(text)
    text = text[:end].rstrip()
    if style in _WRITTEN_IN_LINES:
        return text, ended
    if not ended:
        text = _whole_statements(text)
    return _LEFT_OVER.sub("", _said_once(text)).rstrip(), ended


def _blank(found: re.Match[str]) -> str:
    """Return as many spaces as were found, lines kept."""
    return re.sub(r"[^\n]", " ", found[0])


def _before_end_mark(text: str) -> tuple[str, bool]:
    """Return a text up to its first end mark, and whether there was one behind any words."""
    position = 0
    for mark in _END_MARK.finditer(text):
        if text[position : mark.start()].strip():
            return text[position : mark.start()].strip(), True
        position = mark.end()
    return text[position:].strip(), False


def _next_turn(masked: str) -> int:
    """Return where another question or speaker begins, or the length of the text.

    It is another one only where the chain has said its answer before, or where no answer comes
    after: "Question: how many are left?" in the middle of a chain is the teacher's own.
    """
    own = len(own_part(masked))
    turn = _TURN.search(masked, 0, own)
    end = turn.start() if turn and masked[: turn.start()].strip() else own
    if end < len(masked) and not _MARK.search(masked, 0, end) and _MARK.search(masked, end):
        return len(masked)
    return end


def _whole_statements(text: str) -> str:
    """Return a text without a last statement that has no end; a text of one statement as it is."""
    last = last_statement(text.translate(_MASK))
    if last is None or last.closed or not text[: last.start].strip():
        return text
    return text[: last.start].rstrip()


def _said_once(text: str) -> str:
    """Return a text whose last statement, where it marks the answer, is not said again and again.

    A teacher that decodes greedily may repeat it up to its length limit.
    """
    found = list(_STATEMENT.finditer(text))
    while len(found) > 1 and _MARK.search(found[-1][0]) and _same(found[-1][0], found[-2][0]):
        found.pop()
    return text[: found[-1].end()].rstrip() if found else text


def _same(statement: str, other: str) -> bool:
    return statement.strip().rstrip(".!?") == other.strip().rstrip(".!?")
