"""The grammar of equations: recursive descent from tokens to trees.

    equation = sum ("=" sum)+
    sum      = product (("+" | "-") product)*
    product  = signed (("*" | "/" | "of") signed | power)*    side by side they multiply
    signed   = ["-" | "+"] power
    power    = atom ["^" signed]
    atom     = number | name | "(" sum ")" | "sqrt" atom, then "%" or not

A tree is nested tuples: `("num", Fraction)`, `("name", text)`, `("+", trees)`, `("*", trees)`,
`("inverse", tree)`, `("negative", tree)`, `("^", base, exponent)`. Sums and products hold all
their parts, so a tree is as deep as its brackets and no deeper.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from t5distill.verify.tokens import Token

Tree = tuple[Any, ...]

MAX_DEPTH = 40
MAX_BITS = 8192
HALF: Tree = ("num", Fraction(1, 2))

_BRACKETS = {"(": ")", "[": "]", "{": "}"}


class EquationProblem(ValueError):
    """A text that is no equation one can be sure of, or one that is too large."""


def parse(tokens: list[Token]) -> list[Tree]:
    """Return the sides of an equation, two or more.

    Raises:
      EquationProblem: the tokens are no equation, or nested too deeply.
    """
    parser = _Parser(tokens)
    sides = [parser.sum(0)]
    while parser.take("equals"):
        sides.append(parser.sum(0))
    if parser.position < len(tokens):
        raise EquationProblem(f"unexpected {tokens[parser.position].text!r}")
    if len(sides) < 2:
        raise EquationProblem("no equality")
    return sides


class _Parser:
    def __init__(self, tokens: list[Token]):
        self.tokens = tokens
        self.position = 0

    def peek(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _last(self) -> Token:
        return self.tokens[self.position - 1]

    def take(self, kind: str, *texts: str) -> str | None:
        token = self.peek()
        if token is None or token.kind != kind or (texts and token.text not in texts):
            return None
        self.position += 1
        return token.text

    def sum(self, depth: int) -> Tree:
        return self._sum(depth)[0]

    def _sum(self, depth: int) -> tuple[Tree, bool]:
        first, percent = self.product(depth)
        terms = [(first, percent)]
        while operator := self.take("op", "+", "-"):
            term, percent = self.product(depth)
            terms.append((("negative", term) if operator == "-" else term, percent))
        if len(terms) == 1:
            return terms[0]
        percents = [percent for _, percent in terms]
        # 1 - 20% is 0.8 however one reads it; 50 - 20% is 49.8 to some and 40 to others.
        others = [term for term, percent in terms if not percent]
        if any(percents) and any(term != ("num", Fraction(1)) for term in others):
            raise EquationProblem("a percentage added to something else is ambiguous")
        return ("+", [term for term, _ in terms]), all(percents)

    def product(self, depth: int) -> tuple[Tree, bool]:
        first, percent = self.signed(depth)
        factors = [first]
        divided = False
        while True:
            if operator := self.take("op", "*", "/", "of"):
                if operator == "of" and self.tokens[self.position - 2].kind in ("name", "word"):
                    raise EquationProblem("words beside each other are no unknown")
                factor, _ = self.signed(depth)
                divided = operator == "/"
                factors.append(("inverse", factor) if divided else factor)
            elif self._multiplies():
                if divided and not self._is_coefficient():
                    raise EquationProblem("a quotient runs on into a product: brackets are missing")
                factor, _ = self.power(depth)
                divided = False
                factors.append(factor)
            else:
                break
        return (first, percent) if len(factors) == 1 else (("*", factors), False)

    def _multiplies(self) -> bool:
        """Tell whether the next token multiplies the operand before it without a sign."""
        token, before = self.peek(), self.tokens[self.position - 1]
        if token is None:
            return False
        if token.kind == "name":
            return before.kind in ("number", "close", "percent")
        if before.kind == "name" and token.kind == "open" and token.text != "(":
            raise EquationProblem("a name with an index")
        return token.kind in ("open", "root")

    def _is_coefficient(self) -> bool:
        """Tell whether the quotient just read is one of figures, as in `1/2x`."""
        last = self.tokens[max(0, self.position - 4) : self.position]
        figures = [t.kind for t in last[-3:]] == ["number", "op", "number"]
        return figures and not (len(last) == 4 and last[0].text == "/")

    def signed(self, depth: int) -> tuple[Tree, bool]:
        before = self.tokens[self.position - 1] if self.position else None
        sign = self.take("op", "-", "+")
        if sign and before and before.text in ("+", "-") and before.end == self._last().start:
            raise EquationProblem("two signs written together")
        value, percent = self.power(depth)
        return (("negative", value) if sign == "-" else value), percent

    def power(self, depth: int) -> tuple[Tree, bool]:
        base, percent = self.atom(depth)
        if not self.take("op", "^"):
            return base, percent
        if depth >= MAX_DEPTH:
            raise EquationProblem(f"nested deeper than {MAX_DEPTH}")
        exponent, _ = self.signed(depth + 1)
        return ("^", base, exponent), False

    def atom(self, depth: int) -> tuple[Tree, bool]:
        if depth >= MAX_DEPTH:
            raise EquationProblem(f"nested deeper than {MAX_DEPTH}")
        token = self.peek()
        if token is None:
            raise EquationProblem("an operand is missing at the end")
        self.position += 1
        percent = False
        if token.kind == "number":
            tree: Tree = ("num", _bounded(token))
        elif token.kind == "name":
            tree = ("name", token.text)
        elif token.kind == "open":
            tree, percent = self._sum(depth + 1)
            if not self.take("close", _BRACKETS[token.text]):
                raise EquationProblem("a bracket is not closed")
        elif token.kind == "root":
            if (index := self.peek()) and index.text == "[":
                raise EquationProblem("a root with an index in brackets")
            radicand, _ = self.atom(depth + 1)
            tree = ("^", radicand, HALF)
        else:
            raise EquationProblem(f"{token.text!r} where an operand is wanted")
        if self.take("percent"):
            tree, percent = ("*", [tree, ("num", Fraction(1, 100))]), True
        return tree, percent


def _bounded(token: Token) -> Fraction:
    value = token.exact
    if (
        value is None
        or max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS
    ):
        raise EquationProblem("a number with too many digits")
    return value
