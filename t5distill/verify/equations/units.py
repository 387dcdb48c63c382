"""Units, magnitudes and the letter x: which words of an equation are no unknowns."""

from __future__ import annotations

from collections.abc import Set
from fractions import Fraction

from t5distill.verify import numberwords
from t5distill.verify.equations.grammar import EquationProblem
from t5distill.verify.equations.lexer import ENDS, STARTS
from t5distill.verify.tokens import Token, words

# Words longer than this that follow a number are a sentence, not a unit.
MAX_UNIT = 4
# The unknowns that are asked for by their name, the first that occurs before the others.
ASKED = ("ans", "Ans", "ANS", "answer", "Answer", "ANSWER")

_DOZEN = {"dozen": 12, "dozens": 12}
# Words that change the number before them, or turn what follows into a condition.
_CHANGING = frozenset(
    words(
        "less more fewer greater than from to by as twice double triple half quarter or if else "
        "for is are not because since with without squared cubed until between minus plus times"
    )
)
_AFTER = ("number", "close", "percent")


def standing_alone(statements: list[list[Token]]) -> set[str]:
    """Return the names that stand somewhere as an operand, rather than right after a number."""
    alone: set[str] = set()
    for tokens in statements:
        i = 0
        while i < len(tokens):
            end = _run_end(tokens, i)
            if end > i:
                # The h of "60 km/h" may be a unit as well.
                i = end + 2 * (not _is_factor(tokens[i], alone) and _is_rate(tokens, end))
            else:
                token = tokens[i]
                if token.kind == "name" and not _is_call(tokens, i) and not _is_between(tokens, i):
                    alone.add(token.text)
                i += 1
    return alone


def settled(tokens: list[Token], alone: Set[str]) -> list[Token]:
    """Return the tokens without units, with magnitudes in their numbers and `x` as a sign.

    Args:
      tokens: of one equation.
      alone: the names that are unknowns wherever they stand, see `standing_alone`.

    Raises:
      EquationProblem: a word may be a unit or an unknown, or is a function.
    """
    tokens = [_times(tokens, i, alone) for i in range(len(tokens))]
    kept: list[Token] = []
    i = 0
    while i < len(tokens):
        end = _run_end(tokens, i)
        if end == i:
            if _is_call(tokens, i) and tokens[i].text not in alone:
                raise EquationProblem(f"{tokens[i].text!r} is called like a function")
            kept.append(tokens[i])
            i += 1
            continue
        run = tokens[i:end]
        if (scale := _scale(run[0], kept)) is not None:
            kept[-1] = kept[-1]._replace(value=scale)
            run = run[1:]
        if len(run) == 1 and _is_factor(run[0], alone):
            kept += run
        else:
            _check_unit(run, alone)
            end = _past_rate(tokens, end, alone) if run else end
            if tokens[end : end + 1] and tokens[end].kind not in ("op", "equals", "close"):
                raise EquationProblem(f"{tokens[end].text!r} right after a unit")
        i = end
    return kept


def _run_end(tokens: list[Token], i: int) -> int:
    """Return the end of the names that follow a number from index i on; i where there are none."""
    end = i
    if i and tokens[i - 1].kind in _AFTER and not _is_between(tokens, i):
        while end < len(tokens) and tokens[end].kind in ("name", "word"):
            end += 1
    return end


def _scale(word: Token, kept: list[Token]) -> Fraction | None:
    """Return the value of the number before a magnitude such as "million"."""
    number = kept[-1].exact if kept[-1].kind == "number" else None
    if number is None:
        return None
    if times := {**numberwords.SCALES_AFTER_FIGURES, **_DOZEN}.get(word.text):
        return number * times
    part = numberwords.PARTS_AFTER_FIGURES.get(word.text)
    return number / part if part else None


def _is_factor(token: Token, alone: Set[str]) -> bool:
    """Tell an unknown that a number multiplies from a unit: single letters are never units."""
    odd = any(c.isdigit() or c == "_" for c in token.text)
    known = token.text in alone or token.text in ASKED
    return token.kind == "name" and (len(token.text) == 1 or odd or known)


def _check_unit(run: list[Token], alone: Set[str]) -> None:
    text = " ".join(t.text for t in run)
    if len(run) > MAX_UNIT or any(t.text.lower() in _CHANGING for t in run):
        raise EquationProblem(f"{text!r} after a number is no unit")
    if any(t.text in alone or (len(t.text) == 1 and t.text not in "a") for t in run):
        raise EquationProblem(f"{text!r} may be a unit or hold an unknown")


def _past_rate(tokens: list[Token], end: int, alone: Set[str]) -> int:
    """Return the end of a unit that goes on: the `/h` of `60 km/h`."""
    if not _is_rate(tokens, end):
        return end
    if tokens[end + 1].text in alone:
        raise EquationProblem(f"{tokens[end + 1].text!r} may be a unit or an unknown")
    return end + 2


def _is_rate(tokens: list[Token], i: int) -> bool:
    """Tell a slash and a name written against the word before index i."""
    if i + 1 >= len(tokens) or tokens[i].text != "/" or tokens[i + 1].kind != "name":
        return False
    return tokens[i - 1].end == tokens[i].start and tokens[i].end == tokens[i + 1].start


def _is_call(tokens: list[Token], i: int) -> bool:
    """Tell a name of several letters written against a bracket, as functions are."""
    token = tokens[i]
    if token.kind != "name" or len(token.text) == 1 or i + 1 == len(tokens):
        return False
    return tokens[i + 1].kind == "open" and tokens[i + 1].start == token.end


def _is_between(tokens: list[Token], i: int) -> bool:
    """Tell an x that may be a sign of multiplication: "3 x 4", "price x 3"."""
    if tokens[i].text not in ("x", "X") or tokens[i].kind != "name":
        return False
    if not i or i + 1 == len(tokens):
        return False
    left, right = tokens[i - 1], tokens[i + 1]
    spaced = left.end < tokens[i].start and tokens[i].end < right.start
    return spaced and left.kind in ENDS and right.kind in STARTS


def _times(tokens: list[Token], i: int, alone: Set[str]) -> Token:
    """Return the token at i, an `x` between two operands as a sign of multiplication."""
    token = tokens[i]
    if not _is_between(tokens, i):
        return token
    figures = tokens[i - 1].kind in _AFTER and tokens[i + 1].kind == "number"
    return token._replace(kind="op", text="*") if figures or token.text not in alone else token
