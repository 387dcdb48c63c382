"""Trees as quotients of polynomials with exact coefficients, within bounds of size."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from fractions import Fraction

from t5distill.verify.equations.grammar import MAX_BITS, EquationProblem, Tree

# A monomial is its sorted unknowns, each as often as its power: (), ("x",), ("x", "x", "y").
Monomial = tuple[str, ...]
Polynomial = dict[Monomial, Fraction]
# A numerator and a denominator that is never the zero polynomial.
Quotient = tuple[Polynomial, Polynomial]

MAX_TERMS = 60
MAX_DEGREE = 8
MAX_EXPONENT = 4096

ZERO, ONE = Fraction(0), Fraction(1)
_ONE: Polynomial = {(): ONE}


class NotPolynomial(Exception):
    """No quotient of polynomials, or none within the bounds: a case for the general solver."""


class NoValue(Exception):
    """An expression that no values of the unknowns can give a value: a division by zero."""


class Work:
    """Counts operations on coefficients, so that no system can make the solver run long.

    Attributes:
      left: how many more operations on short numbers may follow.
      divisors: what the expressions evaluated so far divide by, and which so must not be zero.
    """

    def __init__(self, limit: int):
        self.left = limit
        self.divisors: list[Polynomial] = []

    def spend(self, count: int, *values: Fraction) -> None:
        """Take `count` operations on numbers like `values` off what is left.

        Raises:
          EquationProblem: nothing is left, or a number has become too long.
        """
        bits = max((_bits(v) for v in values), default=1)
        if bits > MAX_BITS:
            raise EquationProblem("numbers grow too long")
        self.left -= count * (1 + bits // 64)
        if self.left < 0:
            raise EquationProblem("too much to work out")


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def constant(polynomial: Polynomial) -> Fraction | None:
    """Return the value of a polynomial without unknowns, else None."""
    if not polynomial:
        return ZERO
    return polynomial.get(()) if len(polynomial) == 1 else None


def degree(polynomial: Polynomial) -> int:
    """Return the degree; that of zero is 0."""
    return max(map(len, polynomial), default=0)


def evaluate(tree: Tree, known: Mapping[str, Polynomial], work: Work) -> Quotient:
    """Return a tree as a quotient of polynomials.

    Args:
      tree: see `grammar`.
      known: what some unknowns are in terms of others.
      work: pays for it.

    Raises:
      NotPolynomial: an unknown exponent, an inexact root, or beyond the bounds.
      NoValue: it divides by what is always zero.
      EquationProblem: a number too long, or too much work.
    """
    kind = tree[0]
    if kind == "num":
        return ({(): tree[1]} if tree[1] else {}), _ONE
    if kind == "name":
        return known.get(tree[1]) or ({} if tree[1] in known else {(tree[1],): ONE}), _ONE
    if kind == "^":
        return _power(evaluate(tree[1], known, work), evaluate(tree[2], known, work), work)
    if kind == "+":
        total: Quotient = ({}, _ONE)
        for term in tree[1]:
            total = _sum(total, evaluate(term, known, work), work)
        return total
    if kind == "*":
        product: Quotient = (_ONE, _ONE)
        for factor in tree[1]:
            top, bottom = evaluate(factor, known, work)
            product = _times(product[0], top, work), _times(product[1], bottom, work)
        return _reduced(*product)
    top, bottom = evaluate(tree[1], known, work)
    if kind == "negative":
        return {m: -c for m, c in top.items()}, bottom
    return _inverse(top, bottom, work)


def difference(left: Quotient, right: Quotient, work: Work) -> Quotient:
    """Return left minus right."""
    return _sum(left, ({m: -c for m, c in right[0].items()}, right[1]), work)


def _sum(left: Quotient, right: Quotient, work: Work) -> Quotient:
    if left[1] == right[1]:
        return add(left[0], right[0], work), left[1]
    top = add(_times(left[0], right[1], work), _times(right[0], left[1], work), work)
    return _reduced(top, _times(left[1], right[1], work))


def add(left: Polynomial, right: Polynomial, work: Work) -> Polynomial:
    """Return the sum of two polynomials."""
    if not left or not right:
        return left or right
    total = dict(left)
    for monomial, coefficient in right.items():
        value = total.get(monomial, ZERO) + coefficient
        work.spend(1, value)
        if value:
            total[monomial] = value
        else:
            del total[monomial]
    if len(total) > MAX_TERMS and degree(total) > 1:
        raise NotPolynomial
    return total


def _times(left: Polynomial, right: Polynomial, work: Work) -> Polynomial:
    if left is _ONE or right is _ONE:
        return left if right is _ONE else right
    product: Polynomial = {}
    scaled = constant(left) is not None or constant(right) is not None
    if not scaled and len(left) * len(right) > MAX_TERMS**2:
        raise NotPolynomial
    for one, a in left.items():
        for other, b in right.items():
            monomial = tuple(sorted(one + other)) if one and other else one or other
            value = product.get(monomial, ZERO) + a * b
            work.spend(1, value)
            product[monomial] = value
    product = {m: c for m, c in product.items() if c}
    high = degree(product)
    if high > MAX_DEGREE or (high > 1 and len(product) > MAX_TERMS):
        raise NotPolynomial
    return product


def _inverse(top: Polynomial, bottom: Polynomial, work: Work) -> Quotient:
    if not top:
        raise NoValue("division by zero")
    if constant(top) is None:
        work.divisors.append(top)
    return _reduced(bottom, top)


def _reduced(top: Polynomial, bottom: Polynomial) -> Quotient:
    """Return the quotient without the unknowns and the number that both sides share.

    What is divided out has been noted as a divisor before.
    """
    if bottom is _ONE or not top:
        return top, _ONE
    monomials = iter((*top, *bottom))
    shared = collections.Counter(next(monomials))
    for monomial in monomials:
        if not shared:
            break
        shared &= collections.Counter(monomial)
    if shared:
        top, bottom = _without(top, shared), _without(bottom, shared)
    if (divisor := constant(bottom)) is not None:
        return {m: c / divisor for m, c in top.items()}, _ONE
    return top, bottom


def _without(polynomial: Polynomial, shared: collections.Counter[str]) -> Polynomial:
    """Divide a polynomial by a monomial that all its monomials hold."""
    return {
        tuple(sorted((collections.Counter(m) - shared).elements())): c
        for m, c in polynomial.items()
    }


def _power(base: Quotient, exponent: Quotient, work: Work) -> Quotient:
    number = constant(exponent[0]) if exponent[1] is _ONE else None
    value = constant(base[0]) if base[1] is _ONE else None
    if number is None:
        raise NotPolynomial
    if value is not None:
        power = _number_power(value, number, work)
        return ({(): power} if power else {}), _ONE
    if number.denominator != 1 or abs(number) > MAX_DEGREE:
        raise NotPolynomial
    result: Quotient = (_ONE, _ONE)
    for _ in range(abs(int(number))):
        result = _times(result[0], base[0], work), _times(result[1], base[1], work)
    return result if number >= 0 else _inverse(*result, work)


def _number_power(base: Fraction, exponent: Fraction, work: Work) -> Fraction:
    if not base:
        if exponent <= 0:
            raise NoValue("zero to a power that is not positive")
        return ZERO
    # Of ones every power is small; of everything else the size is known before it is worked out.
    ones = abs(base) == 1
    whole = exponent.numerator % 2 if ones else exponent.numerator
    if abs(whole) > MAX_EXPONENT or (not ones and _bits(base) * abs(whole) > MAX_BITS):
        raise EquationProblem("a power that is too large")
    work.spend(abs(whole) + 1)
    if exponent.denominator != 1:
        base = _root(base, exponent.denominator)
    return base**whole


def _root(value: Fraction, index: int) -> Fraction:
    """Return the exact root of a number, the real one.

    Raises:
      NotPolynomial: the root is not rational.
      NoValue: an even root of a negative number.
    """
    if value < 0 and index % 2 == 0:
        raise NoValue("an even root of a negative number")
    top = _whole_root(abs(value.numerator), index)
    bottom = _whole_root(value.denominator, index)
    if top is None or bottom is None:
        raise NotPolynomial
    return Fraction(top if value > 0 else -top, bottom)


def _whole_root(number: int, index: int) -> int | None:
    if number < 2:
        return number
    if index >= number.bit_length():
        return None
    low, high = 1, 1 << (number.bit_length() // index + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**index < number:
            low = middle + 1
        else:
            high = middle
    return low if low**index == number else None
