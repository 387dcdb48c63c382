"""What the calculator remembers while it walks a chain: which numbers stand for which values."""

from __future__ import annotations

import bisect
import re
from fractions import Fraction
from typing import NamedTuple

from t5distill.verify.calculator.results import Result, format_value, number_of
from t5distill.verify.markers import marked_pieces
from t5distill.verify.tokens import Token, words

LABELS = (
    "steps? days? weeks? months? years? rooms? tables? parts? questions? problems? cases? numbers? "
    "options? chapters? phases? lines? rounds? levels? grades? groups? equations? examples? "
    "exercises? items? sections? stages? figures? pages? quarters? class player team lanes? rows? "
    "columns?"
)
_LABEL = re.compile(rf"(?:\b(?:{'|'.join(LABELS.split())}) ?#? ?|#)$", re.IGNORECASE)
_MONEY = frozenset(words("$ dollar dollars buck bucks cent cents usd"))
_UNIT_AFTER = re.compile(r" ?([A-Za-z]+)")
# "because", that is: "She has 17 eggs because 9 + 8 = 17" announces its result.
_BECAUSE = frozenset(words("because since as"))
_NEARBY = 40


class Correction(NamedTuple):
    """One number that `recalculate` replaced.

    Attributes:
      start: index in the original text.
      stated: what stood there.
      corrected: what stands there now.
      reason: `result` of an equation, or `carried` from an earlier correction.
    """

    start: int
    stated: str
    corrected: str
    reason: str


class Known(NamedTuple):
    """What a number as written stands for, and the units of the result that made it so."""

    value: Fraction
    wrong: bool  # else only rounded
    units: tuple[str, ...]


class Memory:
    """What later numbers stand for: the exact values of wrong and of rounded results.

    A wrong result is carried only into numbers that can hardly be anything else: where the same
    number stood before it (as an operand, in the prose, in the very equation), a later one may be
    that one, so none is replaced. Only the answer, when it follows the wrong result and no other,
    is always taken for it. Ordinals, the numbers of days and steps, the denominators of unit
    fractions, and dollars where the result counted things (or the reverse) are never replaced.

    `known` maps a number as the chain writes it to what it stands for.
    """

    def __init__(self, text: str, *, carries: bool):
        self.text = text
        self.carries = carries  # whether a wrong result is replaced from here on
        self.known: dict[Fraction, Known] = {}
        self.corrections: list[Correction] = []
        self.seen: dict[Fraction, Token] = {}  # the numbers of the text so far, latest last
        self._read = 0  # how many tokens are in `seen`
        self._latest: tuple[Fraction, Fraction] | None = None  # the last result, if it was wrong
        pieces = marked_pieces(text) if carries else ()
        self._answers = sorted((piece.start, piece.end) for piece in pieces)

    def read(self, tokens: list[Token], end: int) -> None:
        """Take the numbers before `tokens[end]` as seen, but not one that announces a result."""
        window = tokens[max(0, end - _NEARBY) : end]
        stops = [i for i, t in enumerate(window) if t.kind == "break" and t.text in ".\n;"]
        sentence = window[stops[-1] + 1 :] if stops else window
        if any(t.text in _BECAUSE for t in sentence):
            end -= len(sentence)
        for t in tokens[self._read : end]:
            if t.kind == "number":
                self.seen.pop(number_of(t), None)
                self.seen[number_of(t)] = t
        self._read = max(self._read, end)

    def carried(self, tokens: list[Token], *, rounded: bool) -> list[Token]:
        """Return `tokens` with remembered values put in; rounded results only if asked."""
        tokens = list(tokens)
        for i, t in enumerate(tokens):
            known = self.known.get(number_of(t))
            if known and (self._stands_for(t, known) if known.wrong else rounded):
                tokens[i] = t._replace(value=known.value)
        return tokens

    def carry_text(self, tokens: list[Token]) -> None:
        """Replace in the text every number that stands for a corrected one."""
        for t in tokens:
            known = self.known.get(number_of(t))
            if known and known.wrong and self._stands_for(t, known):
                self.correct(t, known.value, "carried")

    def carry_answer(self, tokens: list[Token]) -> None:
        """Replace the number of an answer right after the wrong result that it repeats."""
        for t in tokens:
            if self._latest and self._latest[0] == number_of(t) and self._is_answer(t):
                self.correct(t, self._latest[1], "carried")

    def _is_answer(self, token: Token) -> bool:
        i = bisect.bisect(self._answers, (token.start, len(self.text))) - 1
        return i >= 0 and token.end <= self._answers[i][1]

    def _stands_for(self, token: Token, known: Known) -> bool:
        """Tell whether a number equal to a wrong result can be that result."""
        text = self.text
        if self._is_answer(token):
            return True
        if text[token.end - 1 : token.end].isalpha():
            return False  # "9th"
        if _LABEL.search(text, max(0, token.start - 14), token.start):
            return False
        if text[max(0, token.start - 2) : token.start] == "1/":
            return False
        money = text[token.start - 1 : token.start] == "$"
        after = _UNIT_AFTER.match(text, token.end)
        things = bool(after) and _is_plural(after[1]) and not money
        known_money = any(u in _MONEY for u in known.units)
        known_things = any(map(_is_plural, known.units)) and not known_money
        return not ((money and known_things) or (known_money and things))

    def sorted_corrections(self) -> list[Correction]:
        """Return the corrections in order of their place, one for each."""
        return sorted({c.start: c for c in self.corrections}.values())

    def correct(self, token: Token, value: Fraction, reason: str) -> None:
        """Replace the number at `token` in the text."""
        if not self.carries:
            return
        stated = self.text[token.start : token.end]
        new = format_value(value, stated)
        self.corrections.append(Correction(token.start, stated, new, reason))

    def leave(self, result: Result) -> None:
        """Take a result that nobody can decide for what it states."""
        self.known.pop(number_of(result.digits), None)
        self._latest = None

    def settle(
        self, result: Result, exact: Fraction, agreed: Fraction | None, operands: list[Token]
    ) -> None:
        """Remember a result; where it is wrong (`agreed` is None), replace it by `exact`."""
        self._latest = None
        number = number_of(result.digits)
        if agreed is not None:
            if agreed == result.value:
                self.known.pop(number, None)
            elif not result.negative and not result.percent:
                self.known[result.value] = Known(agreed, False, result.units)
            return
        if not self.carries:
            return
        exact = exact * 100 if result.percent else exact
        new = ("-" if exact < 0 else "") + result.prefix
        new += format_value(abs(exact), self.text[result.digits.start : result.end])
        stated = self.text[result.start : result.end]
        self.corrections.append(Correction(result.start, stated, new, "result"))
        if (exact < 0) == result.negative or not result.negative:
            value = abs(exact) if result.negative else exact
            self._latest = (number, value)
            before = self.known.get(number)
            again = before is not None and before.wrong and before.value == value
            other = number in self.seen or any(number_of(t) == number for t in operands)
            if again or not other:
                self.known[number] = Known(value, True, result.units)
            else:
                self.known.pop(number, None)


def _is_plural(word: str) -> bool:
    return len(word) > 3 and word.endswith("s") and word not in _MONEY and word != "this"
