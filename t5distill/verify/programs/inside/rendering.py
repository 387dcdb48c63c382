"""The answer of a program as text; tests/golden/programs.jsonl has a case for every rule."""

from __future__ import annotations

import math
import sys
from _collections_abc import Mapping, Sequence, Set  # `collections` itself would weigh more

TYPE_CHECKING = False  # see boot.py
if TYPE_CHECKING:
    from typing import Any

VALUE_CHARS = 10_000
_DEPTH = 5


def render(value: Any, depth: int = 0) -> dict[str, Any]:
    """Return status, value and detail for what a program answers.

    Numbers are written exactly: integers in full, fractions as `a/b`, floats as Python writes them.
    A container of one element is that element; of several, the answer is undecided.
    """
    if type(value) in (int, float):
        return _of_number(value)  # nearly all; to ask what else it may be writes to many pages
    if _is(value, "sympy", "Basic") or _is(value, "sympy", "MatrixBase"):
        return _of_sympy(value, sys.modules["sympy"], depth)
    if isinstance(value, str):
        return _text(value.strip())
    if isinstance(value, Mapping):
        return _of_several(list(value.values()), depth)
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes | range):
        return _of_several(list(value), depth)
    return _of_number(value)


def _is(value: Any, module: str, name: str) -> bool:
    """Tell whether a value is of a class whose module may not have been imported at all."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _of_number(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return _text(str(value))
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        return _text(repr(float(value))) if math.isfinite(value) else _not_finite(value)
    if isinstance(value, complex):
        if value.imag:
            return _none("the answer is a complex number")
        return _of_number(value.real)
    if _is(value, "fractions", "Fraction"):
        if value.denominator == 1:
            return _integer(value.numerator)
        return _both(_integer(value.numerator), _integer(value.denominator))
    if _is(value, "decimal", "Decimal"):
        if not value.is_finite():
            return _not_finite(value)
        return _text(format(value, "f") if abs(value.adjusted()) < 100 else str(value))
    if _is(value, "datetime", "datetime") and (value.hour or value.minute or value.second):
        return _text(value.isoformat(" "))
    if _is(value, "datetime", "date"):
        return _text(value.strftime("%m/%d/") + f"{value.year:04d}")
    return _error(f"an answer of type {type(value).__name__} has no text")


def _of_several(values: list[Any], depth: int) -> dict[str, Any]:
    if not values:
        return _none("the answer is empty")
    if depth >= _DEPTH:
        return _error("the answer is too deeply nested")
    if len(values) == 1:
        return render(values[0], depth + 1)
    shown = ", ".join(str(render(v, depth + 1).get("value") or "?")[:40] for v in values[:5])
    return {"status": "several", "detail": f"{len(values)} values: {shown}"}


def _of_sympy(value: Any, sympy: Any, depth: int) -> dict[str, Any]:
    """Numbers exactly where they are rational, else as the nearest float; sets as containers."""
    if isinstance(value, sympy.Integer):
        return _integer(int(value))
    if isinstance(value, sympy.Rational):
        return _both(_integer(int(value.p)), _integer(int(value.q)))
    if value in (sympy.true, sympy.false):
        return _text(str(value))
    if isinstance(value, sympy.FiniteSet | sympy.Tuple):
        return _of_several(list(value.args), depth)
    if isinstance(value, sympy.Dict):
        return _of_several(list(value.values()), depth)
    if isinstance(value, sympy.MatrixBase):
        return _of_several(list(value), depth)
    if value is sympy.S.EmptySet:
        return _none("the answer is empty")
    if not isinstance(value, sympy.Expr):
        return _error(f"an answer of type {type(value).__name__} has no text")
    if value.free_symbols:
        names = ", ".join(sorted(map(str, value.free_symbols)))
        return {"status": "underdetermined", "detail": f"the answer still contains {names}"[:300]}
    number = value.evalf(17)
    if number.is_Float and number.is_finite:
        simple = (
            sympy.nsimplify(value) if not value.has(sympy.Float) and value.is_rational else None
        )
        return _of_sympy(simple, sympy, depth) if simple is not None else _text(repr(float(number)))
    if number.is_Integer or number.is_Rational:
        return _of_sympy(number, sympy, depth)
    real, imaginary = value.evalf(50).as_real_imag()
    if real.is_Float and abs(imaginary) <= abs(real) * sympy.Float("1e-15"):
        return _text(repr(float(real)))  # one of three real roots of a cubic: only rounding is left
    return _none(f"the answer is no real number: {str(value)[:80]}")


def _integer(value: int) -> dict[str, Any]:
    try:
        return _text(str(value))
    except ValueError:  # Python's own limit on digits, against quadratic time
        return _error(
            f"the answer is an integer of about {value.bit_length() * 0.30103:.0f} digits"
        )


def _both(above: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    for part in (above, below):
        if part["status"] != "value":
            return part
    return _text(f"{above['value']}/{below['value']}")


def _text(text: str) -> dict[str, Any]:
    if not text:
        return _none("the answer is an empty text")
    if len(text) > VALUE_CHARS:
        return _error(f"the answer has {len(text)} characters, at most {VALUE_CHARS} are read")
    return {"status": "value", "value": text}


def _not_finite(value: Any) -> dict[str, Any]:
    return _none(f"the answer is {value}")


def _none(detail: str) -> dict[str, Any]:
    return {"status": "none", "detail": detail}


def _error(detail: str) -> dict[str, Any]:
    return {"status": "error", "detail": detail}
