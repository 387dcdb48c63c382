"""The real points of a polynomial system, decided exactly.

Where finitely many complex points satisfy the system, the quotient of the polynomials by its
radical ideal is a vector space with as many dimensions as there are points. A linear form that
takes a different value at each of them generates it, so every other quantity is a polynomial in
that form with rational coefficients, and is real exactly where the form is: the real points are
the real roots of one polynomial (Rouillier's rational univariate representation).
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import sympy
from sympy.polys.matrices import DomainMatrix
from sympy.polys.polytools import GroebnerBasis

# Of sympy, whose annotations do not say what its functions return.
Expression = Any

# Points of a system; the linear algebra grows with their cube.
MAX_POINTS = 64
_PRECISION = 60
_CLOSE = sympy.Float("1e-30", _PRECISION)


class Unsolved(Exception):
    """No method here decides the system."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What has to hold.

    Attributes:
      equations: must be zero.
      nonzero: must not be.
      nonnegative: must not be negative.
    """

    equations: list[Expression]
    nonzero: list[Expression]
    nonnegative: list[Expression]


def values(problem: Problem, asked: Expression) -> list[Expression] | None:
    """Return the distinct values of an expression at the real points, or None where it is free.

    Args:
      problem: polynomials, or quotients of them, with rational coefficients.
      asked: a polynomial with rational coefficients.

    Raises:
      Unsolved: there are more than `MAX_POINTS` points.
    """
    polynomials = [sympy.numer(sympy.together(e)) for e in problem.equations]
    # A new unknown times all divisors is one: so none of them is zero.
    divisor = sympy.Mul(*{sympy.numer(sympy.together(e)) for e in problem.nonzero})
    if divisor.free_symbols:
        polynomials.append(sympy.Symbol("inverse") * divisor - 1)
    unknowns = sorted(set().union(*(p.free_symbols for p in (*polynomials, asked))), key=str)
    basis = sympy.groebner(polynomials, *unknowns, order="grevlex", domain=sympy.QQ)
    if basis.exprs == [1]:
        return []
    if not basis.is_zero_dimensional:
        if problem.nonnegative:
            raise Unsolved("a root among free unknowns")
        return _eliminated(polynomials, unknowns, asked)
    quotient = _Quotient(basis)
    form = _separating(quotient, tries=1)
    if form is None:  # a bad form, or points that count more than once
        quotient = _Quotient(_radical(quotient))
        form = _separating(quotient, tries=10_000)
    if form is None:
        raise Unsolved("no separating form")
    return _at_real_points(quotient, form, asked, problem.nonnegative)


def _eliminated(
    polynomials: list[Expression], unknowns: list[Expression], asked: Expression
) -> list[Expression] | None:
    """Return the real values where other unknowns are free, or None where the value is too."""
    value = sympy.Symbol("value")
    basis = sympy.groebner(
        [*polynomials, value - asked], *unknowns, value, order="lex", domain=sympy.QQ
    )
    alone = [p for p in basis.exprs if p.free_symbols == {value}]
    if not alone:
        return None
    return _real_roots(sympy.Poly(alone[0], value, domain=sympy.QQ))


def _real_roots(polynomial: sympy.Poly) -> list[Expression]:
    """Return the distinct real roots, exact."""
    roots: Any = polynomial.real_roots(multiple=True)
    return list(dict.fromkeys(roots))


class _Quotient:
    """Coordinates in the vector space of polynomials modulo an ideal of finitely many points."""

    def __init__(self, basis: GroebnerBasis):
        self.basis = basis
        leading = [p.monoms(order=basis.order)[0] for p in basis.polys]
        below = [
            min(m[i] for m in leading if sum(m) == m[i] and m[i]) for i in range(len(basis.gens))
        ]
        size = 1
        for bound in below:
            size *= bound
        if size > 100 * MAX_POINTS:
            raise Unsolved("too many solutions")
        self.monomials = [
            m
            for m in itertools.product(*(range(b) for b in below))
            if not any(all(a >= b for a, b in zip(m, lead, strict=True)) for lead in leading)
        ]
        if len(self.monomials) > MAX_POINTS:
            raise Unsolved("too many solutions")

    def reduce(self, expression: Expression) -> Expression:
        return self.basis.reduce(sympy.expand(expression))[1]

    def coordinates(self, expression: Expression) -> list[Expression]:
        """Return the coordinates of an expression that is reduced."""
        polynomial = sympy.Poly(expression, *self.basis.gens, domain=sympy.QQ)
        terms = dict(polynomial.terms())
        return [terms.get(m, sympy.Integer(0)) for m in self.monomials]

    def powers(self, expression: Expression) -> list[list[Expression]]:
        """Return the coordinates of 1, e, e^2, ... as many as the space has dimensions, and one."""
        power, rows = sympy.Integer(1), []
        for _ in range(len(self.monomials) + 1):
            rows.append(self.coordinates(power))
            power = self.reduce(power * expression)
        return rows


def _relation(rows: list[list[Expression]], variable: Expression) -> sympy.Poly:
    """Return the polynomial of least degree that vanishes at the expression of these powers."""
    matrix = DomainMatrix.from_Matrix(sympy.Matrix(rows).T).to_field()
    reduced, pivots = matrix.rref()
    degree = next(i for i in range(len(rows)) if i not in pivots)
    column = [reduced.to_Matrix()[i, degree] for i in range(degree)]
    return sympy.Poly([1, *(-c for c in reversed(column))], variable, domain=sympy.QQ)


def _radical(quotient: _Quotient) -> GroebnerBasis:
    """Add the square-free part of every unknown's polynomial, so that each point counts once."""
    basis = quotient.basis
    added = []
    for unknown in basis.gens:
        relation = _relation(quotient.powers(unknown), unknown)
        part = relation.sqf_part()
        if part.degree() < relation.degree():
            added.append(part.as_expr())
    if not added:
        return basis
    return sympy.groebner([*basis.exprs, *added], *basis.gens, order="grevlex", domain=sympy.QQ)


class _Form(NamedTuple):
    """A linear form with a different value at every point.

    Attributes:
      powers: coordinates of its powers, which are a basis of the quotient.
      relation: the polynomial whose roots are its values.
    """

    powers: list[list[Expression]]
    relation: sympy.Poly


def _separating(quotient: _Quotient, *, tries: int) -> _Form | None:
    """Return a form that separates the points, or None: all but finitely many of these do."""
    count = len(quotient.monomials)
    for base in range(2, 2 + tries):
        expression = sympy.Add(*(base**i * u for i, u in enumerate(quotient.basis.gens)))
        powers = quotient.powers(expression)
        relation = _relation(powers, sympy.Symbol("form"))
        if relation.degree() == count and relation.is_sqf:
            return _Form(powers[:count], relation)
    return None


def _at_real_points(
    quotient: _Quotient, form: _Form, asked: Expression, nonnegative: list[Expression]
) -> list[Expression]:
    roots = _real_roots(form.relation)
    inverse = DomainMatrix.from_Matrix(sympy.Matrix(form.powers).T).to_field().inv().to_Matrix()

    def at_roots(expression: Expression) -> list[Expression]:
        column = sympy.Matrix(quotient.coordinates(quotient.reduce(expression)))
        coefficients = list(inverse * column)
        return [_horner(coefficients, root) for root in roots]

    kept = [True] * len(roots)
    for bound in nonnegative:
        kept = [k and v > -_CLOSE for k, v in zip(kept, at_roots(bound), strict=True)]
    exact = _real_roots(_relation(quotient.powers(asked), sympy.Symbol("value")))
    numbers = [root.evalf(_PRECISION) for root in exact]
    found = [v for v, k in zip(at_roots(asked), kept, strict=True) if k]
    nearest = {min(range(len(exact)), key=lambda i, v=v: abs(numbers[i] - v)) for v in found}
    return [exact[i] for i in sorted(nearest)]


def _horner(coefficients: list[Expression], root: Expression) -> Expression:
    point = root.evalf(2 * _PRECISION)
    total = sympy.Float(0, 2 * _PRECISION)
    for coefficient in reversed(coefficients):
        total = total * point + coefficient
    return total
