r"""Reading a mathematical answer in LaTeX, e.g. `\frac{1}{2}`, `x^2 + 1`, `(1, 2)`.

Two answers are the same where their normal forms are, where both are numbers and equal ones, or
where both are tuples of such. There is no computer algebra: `x + 1` is not `1 + x` here.
"""

from __future__ import annotations

import dataclasses
import re

from t5distill.verify import numeric
from t5distill.verify.markers import Piece
from t5distill.verify.plain import from_latex
from t5distill.verify.quantities import Quantity, same_quantity
from t5distill.verify.readings import Reading, empty, undecided

_NUMERIC = re.compile(r"[-+0-9.,/*^()% $]*[0-9][-+0-9.,/*^()% $]*(?:[a-z ]{2,20})?")
# Brackets of a fraction that change nothing: `(ab)/c`, `a/(12)`; but `1/(2x)` needs its own.
_TOP = re.compile(r"(?<![\w)\]}^])\(([\w.]+|sqrt\([\w.]+\))\)/")
_BOTTOM = re.compile(r"/\(([0-9]+(?:\.[0-9]+)?|[^\W\d_]|sqrt\([\w.]+\))\)(?![\w(^])")
_NAMED = re.compile(r"^(?P<name>[a-z](?:\([a-z]\))?) ?= ?(?=[^=]+$)")
_NAMED_LAST = re.compile(r"^(?P<value>[^=]{2,}|[0-9]) ?= ?(?P<name>[a-z])$")


@dataclasses.dataclass(frozen=True)
class Formula:
    """An answer: its normal form, its value where it is one number, its parts where a tuple.

    `name` is the unknown that it is said to equal, if any.
    """

    form: str
    quantity: Quantity | None
    parts: tuple[Formula, ...] = ()
    name: str = ""


def marked(piece: Piece) -> Reading:
    """Read a marked statement, or the inside of a box, as one formula."""
    return _read(piece.text, closed=piece.closed)


def last(piece: Piece) -> Reading:
    """Read the last formula between dollar signs, or the statement as a whole."""
    inside = re.findall(r"\$([^$\n]{1,400})\$", piece.text)
    return _read(inside[-1] if inside else piece.text, closed=piece.closed)


def gold(text: str) -> Formula:
    """Read a gold formula.

    Raises:
      ValueError: nothing is left of it in normal form.
    """
    formula = _formula(text)
    if not formula.form:
        raise ValueError(f"{text!r} is an empty formula")
    return formula


def same(answer: Formula, wanted: Formula) -> bool:
    """Tell whether two formulas are the same (see the module's docstring)."""
    if len(answer.name) == len(wanted.name) == 1 and answer.name != wanted.name:
        return False
    if answer.form == wanted.form:
        return True
    if answer.quantity and wanted.quantity:
        return same_quantity(answer.quantity, wanted.quantity)
    if not wanted.parts or len(answer.parts) != len(wanted.parts):
        return False
    brackets = (answer.form[0], answer.form[-1]) == (wanted.form[0], wanted.form[-1])
    return brackets and all(map(same, answer.parts, wanted.parts))


def _read(text: str, *, closed: bool) -> Reading:
    formula = _formula(text)
    if re.search(r"\bor\b", from_latex(text[:2000])):
        return undecided("two formulas without a decision")
    if not formula.form:
        return empty("no formula")
    shown = str(formula.quantity) if formula.quantity else formula.form
    return Reading("value", formula, shown, at_end=not closed)


def _formula(text: str, *, depth: int = 0) -> Formula:
    plain = from_latex(text.strip()[:2000]).replace("$", " ").replace("°", " ")
    plain = " ".join(plain.strip().rstrip(".").split()).removeprefix("≈").strip()
    name = ""
    if found := _NAMED.match(plain):
        name, plain = found["name"], plain[found.end() :]
    elif found := _NAMED_LAST.match(plain):
        name, plain = found["name"], found["value"].strip()
    plain = re.sub(r"_(\w)", r"_{\1}", plain)  # `_2 8` as `_{2}8`
    form = re.sub(r"(?<![0-9])\s+|\s+(?![0-9])", "", plain)  # "2 3" is not "23"
    form = re.sub(r"sqrt(\w)", r"sqrt(\1)", form)
    form = _BOTTOM.sub(r"/\1", _TOP.sub(r"\1/", form))
    form = re.sub(r"^\((\w)\)$", r"\1", form)
    form = re.sub(r"\^\((\w)\)", r"^\1", form)
    quantity = None
    pair = plain.startswith("(") and "," in plain  # `(1,234)` is no thousand
    if _NUMERIC.fullmatch(plain) and not pair:
        reading = numeric.marked(Piece(plain, True, 0, len(plain)))
        quantity = reading.value if reading.status == "value" else None
    parts = () if quantity or depth > 3 else _parts(form, depth)
    return Formula(form, quantity, parts, name)


def _parts(form: str, depth: int) -> tuple[Formula, ...]:
    """Return the members of a tuple, an interval or a set."""
    if len(form) < 3 or form[0] not in "([{" or form[-1] not in ")]}":
        return ()
    members, level, start = [], 0, 1
    for i, c in enumerate(form[1:-1], start=1):
        level += (c in "([{") - (c in ")]}")
        if c == "," and not level:
            members.append(form[start:i])
            start = i + 1
    members.append(form[start:-1])
    if len(members) < 2:
        return ()
    return tuple(_formula(m, depth=depth + 1) for m in members)
