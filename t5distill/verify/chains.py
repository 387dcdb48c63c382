"""The quantities, expressions and equations found among the words of a chain of thought."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from t5distill.verify.tokens import Token, words

# Words that end the operand before them: what follows them is prose, not a unit.
_STOP = frozenset(
    words(
        "a an and are as at because be been being but by can could did do does during each else "
        "ends equals every for from gets got had has have he her hers his how i if in into is it "
        "its left like makes means no not on or our she should since so than that the their them "
        "then there therefore these they this those thus to too until used was we were what when "
        "where which while who whom whose why will with would you your"
    )
)
_FILLERS = frozenset(
    words(
        "a about all almost approx approximately around at just equal exactly nearly of only "
        "roughly the total"
    )
)
_VARIABLES = frozenset(words("x y z n pi π e i k t"))
_FUNCTIONS = frozenset(words("sqrt log ln sin cos tan abs max min f g"))
MAGNITUDES = frozenset(words("hundred thousand million billion trillion dozen"))
_WORD_OPERATORS = {"times": "*", "plus": "+", "minus": "-"}
_UNITS_IN_A_ROW = 4


@dataclasses.dataclass
class Segment:
    """What stands on one side of an equals sign.

    Attributes:
      tokens: numbers, operators, brackets and percent signs, without units and currency.
      units: the first unit word after each operand that has one, and `$` for any currency sign.
      words: all unit words.
      open: it holds an operand that is not a number.
      bad: it holds a quantity that nobody can read, or a doubled sign.
      approximate: the sign before it is `≈`.
      notes: the `<<...>>` annotations inside it, each with the number right after it.
    """

    tokens: list[Token] = dataclasses.field(default_factory=list)
    units: list[str] = dataclasses.field(default_factory=list)
    words: list[str] = dataclasses.field(default_factory=list)
    open: bool = False
    bad: bool = False
    approximate: bool = False
    notes: list[tuple[Token, Token]] = dataclasses.field(default_factory=list)

    @property
    def operators(self) -> list[str]:
        """The binary operators, in order."""
        return [
            t.text
            for i, t in enumerate(self.tokens)
            if t.kind == "op" and i and self.tokens[i - 1].kind not in ("op", "open")
        ]

    @property
    def kinds(self) -> frozenset[str]:
        """The different units; plural and singular are one."""
        return frozenset(u.removesuffix("s") if len(u) > 3 else u for u in self.units)

    @property
    def numbers(self) -> list[Token]:
        """The number tokens, in order."""
        return [t for t in self.tokens if t.kind == "number"]


@dataclasses.dataclass
class Chain:
    """A quantity, an expression, or an equation of two or more segments.

    Attributes:
      segments: one, or one more than there are equals signs.
      first: index of its first token.
      last: index of its last token that is not a unit.
      dangling: it broke off where an operand was due, or inside brackets.
    """

    segments: list[Segment]
    first: int
    last: int
    dangling: bool


def chains(tokens: list[Token]) -> list[Chain]:
    """Return every quantity, expression and equation among `tokens`, in order."""
    scanner = _Scanner(tokens)
    i = 0
    while i < len(tokens):
        i = scanner.feed(i)
    scanner.flush()
    return scanner.found


class _Scanner:
    """Gathers tokens into chains; one pass, constant work for each token."""

    def __init__(self, tokens: list[Token]):
        self.tokens = tokens
        self.found: list[Chain] = []
        self._reset()

    def _reset(self) -> None:
        self.segments = [Segment()]
        self.depth = 0
        self.expect = True  # an operand is due
        self.sign = False  # a sign has been taken and its operand is due
        self.units = 0
        self.note: Token | None = None  # waits for the number it belongs to
        self.first = -1
        self.last = -1

    @property
    def segment(self) -> Segment:
        return self.segments[-1]

    @property
    def fresh(self) -> bool:
        return self.first < 0

    def flush(self) -> None:
        """End the current chain, keeping it where it holds anything."""
        if self.first >= 0 and any(s.tokens or s.bad for s in self.segments):
            last = self.segments[-1]
            dangling = self.expect and (len(self.segments) > 1 or bool(last.tokens))
            unclosed = self.depth > 0 and bool(last.operators)
            self.found.append(Chain(self.segments, self.first, self.last, dangling or unclosed))
        self._reset()

    def _add(self, i: int, *, operand: bool) -> None:
        self.segment.tokens.append(self.tokens[i])
        self.expect, self.sign, self.units, self.note = not operand, False, 0, None
        self._mark(i)

    def _mark(self, i: int) -> None:
        self.first = i if self.first < 0 else self.first
        self.last = i

    def feed(self, i: int) -> int:
        """Take the token at `i`; return the index of the next one to take."""
        token = self.tokens[i]
        if token.kind in ("number", "bad"):
            if not self.expect:
                self.flush()
            self.segment.bad |= token.kind == "bad"
            if self.note is not None and token.kind == "number":
                self.segment.notes.append((self.note, token))
            self._add(i, operand=True)
        elif token.kind in ("word", "variable"):
            return self._word(i)
        elif token.kind == "op":
            return self._operator(i)
        elif token.kind == "equals":
            self._equals(i)
        elif token.kind == "open":
            self._open(i)
        elif token.kind == "close":
            if self.depth and not self.expect:
                self.depth -= 1
                self._add(i, operand=True)
            else:
                self.flush()
        elif token.kind == "currency":
            if not self.expect:  # "6000$"
                self._mark(i)
            self.segment.units.append("$")
        elif token.kind == "percent":
            if self.expect:
                self.flush()
            else:
                self._add(i, operand=True)
        elif token.kind == "note":
            if not self.expect:
                self.flush()
            self.note = token
        else:
            self.flush()
        return i + 1

    def _peek(self, i: int) -> Token | None:
        return self.tokens[i] if 0 <= i < len(self.tokens) else None

    def _open(self, i: int) -> None:
        if not self.expect:
            previous = self.tokens[i - 1]
            glued = previous.end == self.tokens[i].start and previous.kind in ("number", "close")
            if not glued or previous.text.isalpha():
                self.flush()
                # "1/2 (68) + 10 = 44": whether it multiplies is anybody's guess.
                self.segment.open = previous.kind in ("number", "bad", "close")
        before = self._peek(i - 1)
        if self.fresh and before and before.kind == "word" and before.text in _FUNCTIONS:
            self.segment.open = True
        self.depth += 1
        self._add(i, operand=False)

    def _equals(self, i: int) -> None:
        if self.fresh:
            self.segment.open = True  # "x = 5", "Total = 5": words before the sign
            self._mark(i)
        elif self.expect or self.depth:
            self.flush()
            self.segment.open = True
            self._mark(i)
        self.segments.append(Segment(approximate=self.tokens[i].text[0] != "="))
        self.expect, self.sign, self.units = True, False, 0
        self._mark(i)

    def _operator(self, i: int) -> int:
        token, after = self.tokens[i], self._peek(i + 1)
        if not self.expect:
            if token.text == "/" and after and after.kind == "word" and _is_unit(after.text):
                self.units += 1  # dollars per hour
                self.segment.units.append(after.text)
                return i + 2
            if token.text in "-–" and self._is_dash(i):
                joined = after is not None and token.end == after.start
                if not joined or token.start != self.tokens[i - 1].end:
                    self.flush()
                return i + 1 if not joined else i + 2
            self._add(i, operand=False)
            return i + 1
        if self.sign:
            self.segment.bad = True  # a doubled sign
            self._mark(i)
            return i + 1
        if token.text in "+-–":
            if self.fresh:
                self.segment.open = self._follows_operand(i)
            signed = not self.segment.open
            self._add(i, operand=False)
            self.sign = signed
            return i + 1
        if self.fresh:
            if token.text != "*" or self._follows_operand(i):  # else a stray mark of emphasis
                self.segment.open = True
                self._add(i, operand=False)
        else:
            self.segment.bad = True
            self._mark(i)
        return i + 1

    def _is_dash(self, i: int) -> bool:
        """Tell a dash of prose ("18 - the total", "5-year plan") from a minus."""
        after = self._peek(i + 1)
        if after is None or after.kind != "word":
            return False
        tight = self.tokens[i].end == after.start
        return (tight and len(after.text) > 1) or after.text in _STOP

    def _follows_operand(self, i: int) -> bool:
        """Tell whether the operator at `i`, first of its chain, has an unknown before it."""
        before, after = self._peek(i - 1), self._peek(i + 1)
        if before is None or before.kind not in ("word", "variable", "close"):
            return False
        if before.kind == "word" and before.text in _STOP | {"answer"}:
            return False
        token = self.tokens[i]
        as_sign = before.end < token.start and after is not None and token.end == after.start
        return not (as_sign and before.kind == "word")

    def _word(self, i: int) -> int:
        token, after = self.tokens[i], self._peek(i + 1)
        number_next = after is not None and after.kind in ("number", "open", "currency")
        if self.expect:
            if self.fresh:
                return i + 1
            if self.segment.tokens or self.sign:
                self.segment.open = True  # an unknown among the operands
                self.expect, self.sign, self.units = False, False, 0
                self._mark(i)
            elif token.text not in _FILLERS:
                self.segment.open = True
                self.expect = False
                self._mark(i)
            return i + 1
        glued = token.start == self.tokens[i - 1].end and token.kind == "variable"
        operator_next = after is not None and after.kind in ("op", "equals")
        unknown = token.kind == "variable" and operator_next  # else a word like "MP3"
        if unknown or token.text in _VARIABLES or glued:
            self.segment.open = True
            self._mark(i)
        elif number_next and token.text in _WORD_OPERATORS:
            operator = token._replace(kind="op", text=_WORD_OPERATORS[token.text])
            self.tokens[i] = operator
            self._add(i, operand=False)
        elif number_next and token.text == "of" and self._is_share():
            self.tokens[i] = token._replace(kind="op")
            self._add(i, operand=False)
        elif token.text in _STOP or token.text == "of" or self.units >= _UNITS_IN_A_ROW:
            self.flush()
        else:
            if not self.units:
                self.segment.units.append(token.text)
            self.segment.words.append(token.text)
            self.units += 1
        return i + 1

    def _is_share(self) -> bool:
        """Tell whether the segment so far ends in a percentage or a fraction."""
        tail = self.segment.tokens[-3:]
        if not tail:
            return False  # "Total = cost of 3 * 4": a name, and no operand yet
        joined = isinstance(tail[-1].value, Fraction) and 0 < tail[-1].value < 1
        return tail[-1].kind == "percent" or joined or (len(tail) == 3 and tail[1].text == "/")


def _is_unit(word: str) -> bool:
    return len(word) > 1 or word not in _VARIABLES
