"""Exact evaluation of arithmetic, bounded in size."""

from __future__ import annotations

from fractions import Fraction

from t5distill.verify.plain import arithmetic, plain
from t5distill.verify.tokens import Token, tokenize

MAX_TOKENS = 400
MAX_DEPTH = 40
MAX_BITS = 8192
MAX_EXPONENT = 256


class ArithmeticProblem(ValueError):
    """An expression that has no exact value here: malformed, ambiguous, or too large."""


def evaluate(expression: str) -> Fraction:
    """Return the exact value of an arithmetic expression such as `( 84.0 / 2.0 )`.

    Known are + - * / x × ÷ − ^ ** `of`, brackets, percent (a hundredth), currency signs, thousands
    separators and mixed numbers. Sizes are bounded, so no text can make this run long.

    Raises:
      ArithmeticProblem: the text is not such an expression, or its value is out of bounds.
    """
    tokens = tokenize(arithmetic(plain(expression)).strip().rstrip("."))
    return value_of([t for t in with_mixed_numbers(tokens) if t.kind != "currency"])


def value_of(tokens: list[Token]) -> Fraction:
    """Return the exact value of tokens of kinds number, op, open, close and percent."""
    return _parsed(tokens)[0]


def is_percentage(tokens: list[Token]) -> bool:
    """Tell whether the value of such tokens is a percentage, as that of `100% - 40%` is.

    Raises:
      ArithmeticProblem: as `value_of`.
    """
    return any(t.kind == "percent" for t in tokens) and _parsed(tokens)[1]


def _parsed(tokens: list[Token]) -> tuple[Fraction, bool]:
    if len(tokens) > MAX_TOKENS:
        raise ArithmeticProblem(f"more than {MAX_TOKENS} tokens")
    parser = _Parser(tokens)
    value = parser.sum(0)
    if parser.position != len(tokens):
        raise ArithmeticProblem(f"unexpected {tokens[parser.position].text!r}")
    return value


class _Parser:
    """Recursive descent over sum, product, sign, power, atom; values travel with `is percent`."""

    def __init__(self, tokens: list[Token]):
        self.tokens = tokens
        self.position = 0

    def _next(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _take(self, *texts: str) -> str | None:
        token = self._next()
        if token is None or token.text not in texts or token.kind in ("number", "bad"):
            return None
        self.position += 1
        return token.text

    def sum(self, depth: int) -> tuple[Fraction, bool]:
        value, percent = self.product(depth)
        while operator := self._take("+", "-", "–"):
            right, right_percent = self.product(depth)
            if percent != right_percent and value and right:
                raise ArithmeticProblem("a percentage added to a plain number is ambiguous")
            value = _bounded(value + right if operator == "+" else value - right)
        return value, percent

    def product(self, depth: int) -> tuple[Fraction, bool]:
        value, percent = self.signed(depth)
        while True:
            token = self._next()
            operator = self._take("*", "/", "of")
            if operator is None and not (token and token.kind == "open"):
                return value, percent
            right, _ = self.signed(depth)
            if operator == "/" and not right:
                raise ArithmeticProblem("division by zero")
            value = _bounded(value / right if operator == "/" else value * right)
            percent = False

    def signed(self, depth: int) -> tuple[Fraction, bool]:
        sign = self._take("-", "+", "–")
        value, percent = self.power(depth)
        return (-value if sign in ("-", "–") else value), percent

    def power(self, depth: int) -> tuple[Fraction, bool]:
        value, percent = self.atom(depth)
        if not self._take("^"):
            return value, percent
        exponent, _ = self.signed(depth)
        if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
            raise ArithmeticProblem("exponents are whole and small here")
        if exponent < 0 and not value:
            raise ArithmeticProblem("division by zero")
        size = max(value.numerator.bit_length(), value.denominator.bit_length())
        if size * abs(exponent) > MAX_BITS:
            raise ArithmeticProblem("the power is too large")
        return value ** int(exponent), False

    def atom(self, depth: int) -> tuple[Fraction, bool]:
        token = self._next()
        if token is None:
            raise ArithmeticProblem("an operand is missing")
        if token.kind == "number" and token.exact is not None:
            self.position += 1
            value = _bounded(token.exact)
        elif token.kind == "open":
            if depth >= MAX_DEPTH:
                raise ArithmeticProblem(f"brackets deeper than {MAX_DEPTH}")
            self.position += 1
            value, percent = self.sum(depth + 1)
            if not self._take(")", "]", "}"):
                raise ArithmeticProblem("a bracket is not closed")
            if percent:
                return value, True
        else:
            raise ArithmeticProblem(f"{token.text!r} is not an operand")
        if self._take("%", "\\%"):
            return value / 100, True
        return value, False


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ArithmeticProblem(f"a value beyond {MAX_BITS} bits")
    return value


def with_mixed_numbers(tokens: list[Token]) -> list[Token]:
    """Join what people read as one number: `5 1/2`, `5 and 1/2`, and the `1/5` of `28 / 1/5`."""
    if all(t.text != "/" for t in tokens):
        return list(tokens)
    joined: list[Token] = []
    i = 0
    while i < len(tokens):
        if tokens[i].kind != "number":
            joined.append(tokens[i])
            i += 1
            continue
        whole, before = tokens[i], joined[-1] if joined else None
        middle = 1 if tokens[i + 1 : i + 2] and tokens[i + 1].text == "and" else 0
        rest = tokens[i + 1 + middle : i + 4 + middle]
        fraction = proper_fraction(rest)
        is_whole = whole.exact is not None and not whole.decimal
        near = bool(rest) and rest[0].start == whole.end + (5 if middle else 1)
        if is_whole and fraction and near and not (before and before.text in ("/", "^")):
            text = f"({whole.text}+{rest[0].text}/{rest[2].text})"
            value = (whole.exact or 0) + fraction
            joined.append(Token("number", text, whole.start, rest[2].end, value))
            i += 4 + middle
            continue
        divisor = before is not None and before.text == "/" and before.end < whole.start
        parts = tokens[i : i + 3]
        fraction = proper_fraction(parts) if divisor else None
        if fraction:
            text = f"({parts[0].text}/{parts[2].text})"
            joined.append(Token("number", text, whole.start, parts[2].end, fraction))
            i += 3
            continue
        joined.append(whole)
        i += 1
    return joined


def proper_fraction(tokens: list[Token]) -> Fraction | None:
    """Return the value of `n/d`, written without spaces and below one, or None."""
    if [t.kind for t in tokens] != ["number", "op", "number"] or tokens[1].text != "/":
        return None
    top, slash, bottom = tokens
    tight = top.end == slash.start and slash.end == bottom.start
    if not tight or top.decimal or bottom.decimal:
        return None
    if top.exact is None or bottom.exact is None or not 0 < top.exact < bottom.exact:
        return None
    return top.exact / bottom.exact
