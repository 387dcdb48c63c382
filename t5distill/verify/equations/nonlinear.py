"""Non-linear systems with sympy, for a process of its own that has limits.

The system comes as nested lists (see `grammar` for the trees) and becomes sympy expressions through
constructors, node by node; text is never parsed. Polynomial systems are decided exactly, by the
finitely many real points of their variety (`realpoints`); what has unknowns in exponents is left to
sympy's own solvers, and their answers are put back into the equations.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import sympy

from t5distill.verify.equations import realpoints
from t5distill.verify.equations.realpoints import Unsolved

# Of sympy, whose annotations do not say what its functions return.
Expression = Any

# Digits of an irrational value, and how close to zero an equation must come to hold.
DIGITS = 15
_PRECISION = 40
_CLOSE = sympy.Float("1e-20")
_MAX_BRANCHES = 64


class NoSolution(Exception):
    """The equations cannot hold for real values."""


def solve(system: dict[str, Any]) -> dict[str, Any]:
    """Solve a system for the real values of one expression.

    Args:
      system: `equations`, trees that are to be zero; `nonzero`, trees that must not be; `asked`,
        the tree whose value is wanted.

    Returns:
      `status`, `value` and `detail` as in `Outcome`.
    """
    try:
        values = _values(_Builder(), system)
    except NoSolution:
        return _outcome("inconsistent", "no real values satisfy the equations")
    except (Unsolved, NotImplementedError) as problem:
        return _outcome("error", f"the non-linear equations could not be solved: {problem}")
    if values is None:
        return _outcome("underdetermined", "the equations leave what is asked open")
    if not values:
        return _outcome("inconsistent", "no real values satisfy the equations")
    texts = sorted({_text(value) for value in values})
    if len(texts) > 1:
        shown = ", ".join(texts[:6]) + (", ..." if len(texts) > 6 else "")
        return _outcome("several", f"{len(texts)} real values: {shown}")
    return {"status": "value", "value": texts[0], "detail": ""}


def _outcome(status: str, detail: str) -> dict[str, Any]:
    return {"status": status, "value": None, "detail": detail[:400]}


@dataclasses.dataclass
class _Builder:
    """Builds expressions out of trees, and collects what roots and divisions demand.

    Attributes:
      symbols: the unknown of each name; their own names are ours, since some mean something to
        sympy.
      equations: one for each root that became an unknown of its own.
      nonzero: what is divided by.
      nonnegative: square roots and other even ones.
      transcendental: whether an unknown stands in an exponent.
    """

    symbols: dict[str, sympy.Symbol] = dataclasses.field(default_factory=dict)
    equations: list[Expression] = dataclasses.field(default_factory=list)
    nonzero: list[Expression] = dataclasses.field(default_factory=list)
    nonnegative: list[Expression] = dataclasses.field(default_factory=list)
    transcendental: bool = False

    def symbol(self, name: str) -> Expression:
        """Return the unknown of a name."""
        if name not in self.symbols:
            self.symbols[name] = sympy.Symbol(f"u{len(self.symbols)}", real=True)
        return self.symbols[name]

    def build(self, tree: list[Any]) -> Expression:
        """Return the expression of a tree."""
        kind = tree[0]
        if kind == "num":
            top, _, bottom = tree[1].partition("/")
            return sympy.Rational(int(top), int(bottom or 1))
        if kind == "name":
            return self.symbol(tree[1])
        if kind in ("+", "*"):
            parts = [self.build(part) for part in tree[1]]
            return sympy.Add(*parts) if kind == "+" else sympy.Mul(*parts)
        inner = self.build(tree[1])
        if kind == "negative":
            return sympy.Mul(sympy.Integer(-1), inner)
        if kind == "inverse":
            return self._inverse(inner)
        return self._power(inner, self.build(tree[2]))

    def _inverse(self, inner: Expression) -> Expression:
        if inner.is_zero:
            raise NoSolution
        self.nonzero.append(inner)
        return sympy.Pow(inner, sympy.Integer(-1))

    def _power(self, base: Expression, exponent: Expression) -> Expression:
        if not exponent.is_Rational:
            if not exponent.is_number:
                self.transcendental = True
            return sympy.Pow(base, exponent)
        if abs(exponent.p) > 64 or exponent.q > 64:
            raise Unsolved("an exponent that is too large")
        if exponent.q > 1:
            root = self.symbol(f"root {base} {exponent.q}")
            self.equations.append(root**exponent.q - base)
            if exponent.q % 2 == 0:
                self.nonnegative.append(root)
            base = root
        power = sympy.Pow(base, sympy.Integer(abs(exponent.p)))
        return power if exponent.p >= 0 else self._inverse(power)


def _values(builder: _Builder, system: dict[str, Any]) -> list[Expression] | None:
    """Return the real values of what is asked, or None where it is free."""
    equations = [builder.build(tree) for tree in system["equations"]]
    asked = builder.build(system["asked"])
    nonzero = [builder.build(tree) for tree in system["nonzero"]] + builder.nonzero
    equations += builder.equations
    if builder.transcendental or any(e.has(sympy.I) for e in equations):
        return _general(equations, asked, nonzero, builder)
    groups = _components(equations, [asked, *nonzero])
    values: list[Expression] | None = None if asked.free_symbols else [asked]
    for group in groups:
        symbols = set().union(*(e.free_symbols for e in group))
        wanted = asked if asked.free_symbols & symbols else None
        problem = realpoints.Problem(
            equations=group,
            nonzero=[e for e in nonzero if e.free_symbols & symbols],
            nonnegative=[e for e in builder.nonnegative if e.free_symbols & symbols],
        )
        found = realpoints.values(problem, wanted if wanted is not None else sympy.Integer(0))
        if found is not None and not found:
            raise NoSolution
        if wanted is not None:
            values = found
    return values


def _components(equations: list[Expression], joining: list[Expression]) -> list[list[Expression]]:
    """Group equations that share unknowns.

    Args:
      equations: to be grouped.
      joining: expressions of which each joins the equations that share unknowns with it.
    """
    groups: list[tuple[set[Expression], list[Expression]]] = []
    for i, expression in enumerate((*joining, *equations)):
        symbols = set(expression.free_symbols)
        members = [] if i < len(joining) else [expression]
        rest = []
        for others, group in groups:
            if others & symbols:
                symbols |= others
                members = group + members
            else:
                rest.append((others, group))
        groups = [*rest, (symbols, members)]
    constants = [e for symbols, group in groups if not symbols for e in group]
    if any(not _is_small(e.evalf(_PRECISION)) for e in constants):
        raise NoSolution
    return [group for symbols, group in groups if symbols and group]


def _general(
    equations: list[Expression],
    asked: Expression,
    nonzero: list[Expression],
    builder: _Builder,
) -> list[Expression] | None:
    """Solve with unknown exponents: one equation in one unknown after the other.

    Only complete sets of real solutions count, so that a value is the only one.
    """
    if not asked.free_symbols <= set().union(*(e.free_symbols for e in equations)):
        return None
    values = []
    waiting: list[dict[Expression, Expression]] = [{}]
    while waiting:
        solution = waiting.pop()
        left = [e.subs(solution) for e in equations]
        single = next((e for e in left if len(e.free_symbols) == 1), None)
        if single is None and any(e.free_symbols for e in left):
            raise Unsolved("unknown exponents in equations of several unknowns")
        if single is None:
            if _holds(equations, nonzero, builder, solution):
                values.append(asked.subs(solution))
            continue
        (unknown,) = single.free_symbols
        found = sympy.solveset(single, unknown, sympy.S.Reals)
        if found is sympy.S.EmptySet:
            continue
        if not isinstance(found, sympy.FiniteSet):
            raise Unsolved("no closed form")
        waiting += [{**solution, unknown: root} for root in found.args]
        if len(waiting) > _MAX_BRANCHES:
            raise Unsolved("too many solutions")
    return values


def _holds(
    equations: list[Expression],
    nonzero: list[Expression],
    builder: _Builder,
    solution: dict[Expression, Expression],
) -> bool:
    """Tell whether values satisfy everything, to 20 digits."""

    def at(expression: Expression) -> Expression:
        return expression.subs(solution).evalf(_PRECISION)

    if not all(_is_real(value) for value in solution.values()):
        return False
    return (
        all(_is_small(at(e)) for e in equations)
        and not any(_is_small(at(e)) for e in nonzero)
        and all(_is_real(at(e)) and at(e) > -_CLOSE for e in builder.nonnegative)
    )


def _is_small(value: Expression) -> bool:
    return bool(value.is_number and abs(value) < _CLOSE)


def _is_real(value: Expression) -> bool:
    number = value.evalf(_PRECISION)
    return bool(number.is_number and number.is_finite and abs(sympy.im(number)) < _CLOSE)


def _text(value: Expression) -> str:
    """Write a value: an integer or a fraction, else a decimal of `DIGITS` digits."""
    if not value.is_Rational and value.is_number:
        value = _as_rational(value)
    if value.is_Rational:
        return str(value.p) if value.q == 1 else f"{value.p}/{value.q}"
    return str(sympy.re(value.evalf(_PRECISION)).evalf(DIGITS))


def _as_rational(value: Expression) -> Expression:
    """Return a number that is rational in disguise, such as log(8)/log(2), as a rational."""
    simple = sympy.simplify(value)
    return simple if simple.is_Rational else value
