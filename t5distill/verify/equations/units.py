"""Units, magnitudes and the letter x: which words of an equation are no unknowns."""

from __future__ import annotations

from collections.abc import Set
from fractions import Fraction

from t5distill.verify import numberwords
from t5distill.verify.equations import dimensions, rounding
from t5distill.verify.equations.grammar import EquationProblem
from t5distill.verify.equations.lexer import ENDS, STARTS
from t5distill.verify.tokens import Token, words

# Words longer than this that follow a number are a sentence, not a unit.
MAX_UNIT = 4
# The unknowns that are asked for by their name, the first that occurs before the others.
ASKED = ("ans", "Ans", "ANS", "answer", "Answer", "ANSWER")

_DOZEN = {"dozen": 12, "dozens": 12}
_NUMBER_WORDS = {*numberwords.STARTS, *numberwords.SCALES_AFTER_FIGURES, *_DOZEN} - {"a", "an"}
# Words that change the number before them, or turn what follows into a condition.
_CHANGING = _NUMBER_WORDS | frozenset(
    words(
        "less more fewer greater than from to by as twice double triple half quarter or if else "
        "for is are not because since with without squared cubed until between minus plus times "
        "off am pm rounded rounding remainder truncated approximately approx roughly negative "
        "except increased decreased reduced doubled tripled halved factorial modulo pct percentage "
        "st nd rd th mil mn gross score fifth sixth seventh eighth ninth tenth third fourth "
        "hundredth hundredths thousandth thousandths millionth millionths twelfths"
    )
)
# After a percentage these do too: "50 * 20% discount" may be 10 or 40.
_CHANGING_PERCENT = _CHANGING | frozenset(
    words(
        "discount discounts increase decrease reduction markup markdown raise growth loss higher "
        "lower cheaper faster slower taller older younger bigger smaller larger extra additional"
    )
)
# Signs after which a word is a unit or is multiplied.
AFTER = ("number", "close", "percent")


def standing_alone(statements: list[list[Token]]) -> set[str]:
    """Return the names that stand somewhere as an operand, rather than right after a number."""
    alone: set[str] = set()
    for tokens in statements:
        own = {s[0].text for s in sides_of(tokens) if len(s) == 1 and may_be_unit(s[0].text)}
        i = 0
        while i < len(tokens):
            end = _run_end(tokens, i)
            if end > i:
                # The h of "60 km/h" may be a unit as well, and the box of "eggs = 12 eggs/box".
                unit = tokens[i].text in own or not _is_factor(tokens[i], alone)
                i = end + 2 * (unit and _is_rate(tokens, end))
            elif _is_price(tokens, i):
                i += 2
            else:
                token = tokens[i]
                if token.kind == "name" and not _is_call(tokens, i) and not _is_between(tokens, i):
                    alone.add(token.text)
                i += 1
    return alone


def sides_of(tokens: list[Token]) -> list[list[Token]]:
    """Return the sides of an equation."""
    sides: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "equals":
            sides.append([])
        else:
            sides[-1].append(token)
    return sides


def may_be_unit(name: str) -> bool:
    """Tell a word from the names that are unknowns after a number too, `x` and `x_1` and `ans`."""
    return len(name) > 1 and name.isalpha() and name not in ASKED


def settled(
    tokens: list[Token],
    alone: Set[str],
    both: Set[str] = frozenset(),
    *,
    marked: bool = False,
) -> list[Token]:
    """Return the tokens without units, with magnitudes in their numbers and `x` as a sign.

    Args:
      tokens: of one equation.
      alone: the names that are unknowns wherever they stand, see `standing_alone`.
      both: those of them that are units as well, see `selfnamed`.
      marked: put the mark of a known unit in the place of each quantity, see `dimensions`.

    Raises:
      EquationProblem: a word may be a unit or an unknown, or is a function.
    """
    tokens = [_times(tokens, i, alone) for i in range(len(tokens))]
    kept: list[Token] = []
    i = 0
    while i < len(tokens):
        end = _run_end(tokens, i)
        if end == i and _is_price(tokens, i) and _is_rate_of(tokens[i + 1].text, alone):
            i += 2
            continue
        if end == i:
            if _is_call(tokens, i) and tokens[i].text not in alone:
                raise EquationProblem(f"{tokens[i].text!r} is called like a function")
            kept.append(tokens[i])
            money = marked and tokens[i].kind == "number" and not _is_price(tokens, i + 1)
            if money and (mark := dimensions.currency_mark(tokens[i])):
                kept[-1] = mark
            i += 1
            continue
        run = _without_scale(tokens[i:end], kept)
        if len(run) == 1 and _is_factor(run[0], alone):
            if run[0].text in both:
                raise EquationProblem(f"{run[0].text!r} is an unknown and a unit")
            kept += run
        else:
            end = _past_unit(tokens, run, end, kept, alone, marked=marked)
        i = end
    return kept


def _without_scale(run: list[Token], kept: list[Token]) -> list[Token]:
    """Return the words after a number without the magnitudes, which go into the number."""
    scale = _scale(run[0], kept)
    while scale is not None:
        kept[-1] = kept[-1]._replace(value=scale)
        hundreds = run[0].text in ("hundred", "hundreds")
        run = run[1:]
        scale = _scale(run[0], kept) if hundreds and run else None
    return run


def _past_unit(
    tokens: list[Token],
    run: list[Token],
    end: int,
    kept: list[Token],
    alone: Set[str],
    *,
    marked: bool,
) -> int:
    """Return the end of a unit, the words `run`, which end before index `end`."""
    stop = end
    if run:
        _check_unit(run, alone, percent=kept[-1].kind == "percent")
        stop = _past_rate(tokens, end, alone)
        if marked and stop == end and (mark := dimensions.unit_mark(run)):
            _put_mark(mark, kept)
    if tokens[stop : stop + 1] and tokens[stop].kind not in ("op", "equals", "close"):
        raise EquationProblem(f"{tokens[stop].text!r} right after a unit")
    return stop


def _put_mark(mark: Token, kept: list[Token]) -> None:
    """Put the mark of a unit in the place of its number, or beside a bracket."""
    if kept[-1].kind != "number":
        kept += [mark._replace(kind="op", text="*"), mark]
        return
    number = kept.pop()
    divided = len(kept) > 1 and kept[-1].text == "/" and kept[-1].end == number.start
    if divided and kept[-2].kind == "number":
        del kept[-2:]  # 1/2 hour
    kept.append(mark)


def _run_end(tokens: list[Token], i: int) -> int:
    """Return the end of the names that follow a number from index i on; i where there are none."""
    end = i
    if i and tokens[i - 1].kind in AFTER and not _is_between(tokens, i):
        while end < len(tokens) and tokens[end].kind in ("name", "word"):
            end += 1
    return end


def _scale(word: Token, kept: list[Token]) -> Fraction | None:
    """Return the value of the number before a magnitude such as "million"."""
    number = kept[-1].exact if kept[-1].kind == "number" else None
    times = {**numberwords.SCALES_AFTER_FIGURES, **_DOZEN}.get(word.text)
    part = numberwords.PARTS_AFTER_FIGURES.get(word.text)
    if number is None or not (times or part):
        return None
    if len(kept) > 1 and kept[-2].text in ("/", "^") and kept[-2].end == kept[-1].start:
        raise EquationProblem(f"{word.text!r} after a fraction or a power")
    return number * times if times else number / (part or 1)


def _is_factor(token: Token, alone: Set[str]) -> bool:
    """Tell an unknown that a number multiplies from a unit: single letters are never units."""
    odd = any(c.isdigit() or c == "_" for c in token.text)
    known = token.text in alone or token.text in ASKED
    return token.kind == "name" and (len(token.text) == 1 or odd or known)


def _check_unit(run: list[Token], alone: Set[str], *, percent: bool = False) -> None:
    text = " ".join(t.text for t in run)
    lowered = [t.text.lower() for t in run]
    changing = _CHANGING_PERCENT if percent else _CHANGING
    if len(run) > MAX_UNIT or not changing.isdisjoint(lowered):
        raise EquationProblem(f"{text!r} after a number is no unit")
    rounding.refuse_rounding(text)
    if any(t.text in alone or (len(t.text) == 1 and t.text not in "a") for t in run):
        raise EquationProblem(f"{text!r} may be a unit or hold an unknown")


def _past_rate(tokens: list[Token], end: int, alone: Set[str]) -> int:
    """Return the end of a unit that goes on: the `/h` of `60 km/h`."""
    if not _is_rate(tokens, end):
        return end
    if tokens[end + 1].text in alone:
        raise EquationProblem(f"{tokens[end + 1].text!r} may be a unit or an unknown")
    _check_number_word(tokens[end + 1].text)
    return end + 2


def _check_number_word(word: str) -> None:
    if word.lower() in _NUMBER_WORDS:
        raise EquationProblem(f"{word!r} after a number is no unit")


def _is_price(tokens: list[Token], i: int) -> bool:
    """Tell the slash of `$15/hour`, with a word that may be a unit behind it."""
    if i == 0 or tokens[i - 1].kind != "number" or not _is_rate(tokens, i):
        return False
    name = tokens[i + 1].text
    money = dimensions.currency_mark(tokens[i - 1])
    return money is not None and may_be_unit(name)


def _is_rate_of(name: str, alone: Set[str]) -> bool:
    """Tell whether the word after the slash of a price is a unit.

    `$60/friends` is a quotient where the friends are an unknown; `$15/hour` may be either then.

    Raises:
      EquationProblem: it may be either.
    """
    _check_number_word(name)
    if name not in alone:
        return True
    if not name.endswith("s"):
        raise EquationProblem(f"{name!r} may be a unit or an unknown")
    return False


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
    figures = tokens[i - 1].kind in AFTER and tokens[i + 1].kind == "number"
    return token._replace(kind="op", text="*") if figures or token.text not in alone else token
