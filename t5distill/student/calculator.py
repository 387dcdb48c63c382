"""The calculator inside decoding: which tokens have to come next in a row (Cobbe et al. 2021).

After the `=` of an equation the value is forced, as `verify.calculator.result_due` gives it, in the
tokens with which the vocabulary itself would spell the text at that place. Three rules go with it:

- A currency sign, spaces, or an annotation that the student would rather open may come first; the
  value is then due behind the sign, or inside the annotation. That holds three times an equation.
- After `<<48/2=` the value and `>>` are forced, and behind that the value once more, which is what
  the later steps read. Cobbe et al. force the first only; GSM8K's texts always go on like this.
- After a value the next token must not make another number of it: a digit, `.5`, `,000`, `%`. Where
  the student chose such a token it chooses again among the others. Behind a bare `.` or `,` a digit
  is forbidden as well.

All of it follows from the row's own tokens, one by one, so that neither the slot nor the time when
the host looks matters. `Watch` follows a row; on the device a row goes on before the host has
looked, and goes back where the rules say otherwise (`loop.Forced`).
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from t5distill.errors import UserError
from t5distill.verify.calculator import Remembered, inside_annotation, result_due, statement

# Masks of the first choice after a value, in the order of `Calculator.masks`.
FREE, NUMBER, DIGITS, NUMBER_OR_PERCENT = range(4)

_SIGN = "$€£¥₹"
_TRIGGER = re.compile(rf"(?:=|>) *[{_SIGN}]? *\Z")
_OPENS = re.compile(rf"^ *[{_SIGN}]? *(?:<<?)?\Z")
_CUT = re.compile(rf"([^=]*=) ?[{_SIGN}]?\d")
_END = re.compile(r"[\n.!?]")
_GOES_ON = re.compile(r"^(?:\d|[.,]\d|[eE][-+]?\d)")
_PERCENT = re.compile(r"^%")
_DIGIT = re.compile(r"^\d")
_ASCII = re.compile(r"[ -~]+")
_DECIMAL = re.compile(r"\d\.\d")
_OPENINGS = 3
# So many tokens before the end of a line say whether it goes on.
_BEFORE_END = 16
# Spellings that are kept; a set of a few thousand problems has fewer.
_KEPT = 200_000


class Vocabulary(Protocol):
    """What the calculator needs of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without EOS."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`."""
        ...


class Due(NamedTuple):
    """What has to come next: the tokens, and the mask for the choice after them."""

    tokens: tuple[int, ...]
    mask: int


_NOTHING = Due((), FREE)


class _Tables(NamedTuple):
    """What the tokens of a vocabulary are to the calculator; see `Calculator`."""

    surfaces: dict[int, str]  # what a token adds to any text, where that is plain ASCII
    triggers: np.ndarray
    opens: np.ndarray
    masks: np.ndarray
    cuts: dict[int, int]  # tokens that go from `=` on into a number, with the token up to `=`
    separators: frozenset[int]
    ends: frozenset[int]


@functools.lru_cache(maxsize=4)
def _tables(vocabulary: Vocabulary, size: int) -> _Tables:
    """Look at every token once: at what it adds to a text that ends in a digit."""
    anchor = vocabulary.encode("a 7")
    before = vocabulary.decode(anchor)
    texts = (vocabulary.decode([*anchor, i]) for i in range(size))
    added = [text[len(before) :] if text.startswith(before) else "" for text in texts]

    def table(matches: re.Pattern[str]) -> np.ndarray:
        return np.array([bool(s) and bool(matches.search(s)) for s in added])

    whole = {s: i for i, s in reversed(list(enumerate(added)))}
    found = ((i, _CUT.match(s)) for i, s in enumerate(added))
    cuts = {i: whole[m[1]] for i, m in found if m and m[1] in whole}
    triggers, number = table(_TRIGGER), table(_GOES_ON)
    triggers[list(cuts)] = True
    masks = [np.zeros(size, np.bool_), number | table(_PERCENT), table(_DIGIT), number]
    return _Tables(
        surfaces={i: s for i, s in enumerate(added) if _ASCII.fullmatch(s)},
        triggers=triggers,
        opens=table(_OPENS),
        masks=np.stack(masks),
        cuts=cuts,
        separators=frozenset(i for i, s in enumerate(added) if s in (".", ",")),
        ends=frozenset(np.flatnonzero(table(_END)).tolist()),
    )


class Calculator:
    """The rules above for one vocabulary.

    Attributes:
      triggers: bool `[size]`, the tokens after which something may be due.
      opens: bool `[size]`, the tokens that may stand before a value that is due.
      masks: bool `[4, size]`, the tokens forbidden after a value, by kind of mask.
    """

    def __init__(self, vocabulary: Vocabulary, size: int):
        """Look at every token, if this vocabulary is new.

        Args:
          vocabulary: the student's.
          size: tokens the network has, padding rows of the embedding included.

        Raises:
          UserError: the vocabulary cannot spell equations.
        """
        if vocabulary.decode(vocabulary.encode("3 * 12 = 36")) != "3 * 12 = 36":
            raise UserError(
                "the student's vocabulary cannot spell '3 * 12 = 36'; decode without calculator"
            )
        self._vocabulary = vocabulary
        self._tables = _tables(vocabulary, size)
        self.triggers, self.opens = self._tables.triggers, self._tables.opens
        self.masks = self._tables.masks
        self._results = Remembered()
        self._words: dict[str, tuple[int, ...]] = {}
        self._spellings: dict[tuple[str, str], tuple[int, ...]] = {}

    def due(self, ids: Sequence[int]) -> Due:
        """Return what has to come after a row's tokens `ids`."""
        start, ends = len(ids) - 1, self._tables.ends
        while True:
            while start > 0 and ids[start] not in ends:
                start -= 1
            # Whether a line goes on over its end, what stands before that says.
            part = statement(self._text(ids[max(0, start - _BEFORE_END) :]))
            if start <= 0 or len(part) < len(self._text(ids[start:])):
                break
            start -= 1
        if _DECIMAL.search(part):
            # Whether an operand is an earlier, rounded result takes the whole text to see.
            value = result_due(self._vocabulary.decode(ids))
        else:
            value = self._results.due(part)
        if value is None:
            return _NOTHING
        inside = inside_annotation(part)
        spaced = part.endswith("=") and not inside and part.rstrip("=")[-1:] == " "
        new = f"{' ' * spaced}{value}{'>>' * inside}"
        tokens = self._spelled(ids, part, new)
        if not tokens or inside or value.endswith("%"):
            return Due(tokens, FREE)
        percent = "%" in part or "100" in part
        return Due(tokens, NUMBER_OR_PERCENT if percent else NUMBER)

    def _text(self, ids: Sequence[int]) -> str:
        """Return the text of some tokens, perhaps with a space before it."""
        surfaces = self._tables.surfaces
        try:
            return "".join([surfaces[i] for i in ids])
        except KeyError:
            return self._vocabulary.decode(ids)

    def forced(self, ids: Sequence[int]) -> list[int]:
        """Return the tokens that have to come after a row's tokens `ids`."""
        return list(self.due(ids).tokens)

    def _spelled(self, ids: Sequence[int], part: str, new: str) -> tuple[int, ...]:
        """Return the tokens of `new` after `ids`, whose text ends in `part`; none if none fit."""
        # No piece reaches over a space: the last word decides.
        word = part[part.rfind(" ") + 1 :]
        known = self._words.get(word)
        if known is None:
            known = self._words[word] = tuple(self._vocabulary.encode(word))
        if not known or tuple(ids[-len(known) :]) != known:
            return self._fitted(ids, new)
        if (word, new) not in self._spellings:
            if len(self._spellings) >= _KEPT:
                self._spellings.clear()
                self._words.clear()
            whole = tuple(self._vocabulary.encode(word + new))
            fits = whole[: len(known)] == known
            self._spellings[word, new] = whole[len(known) :] if fits else ()
        return self._spellings[word, new] or self._fitted(ids, new)

    def _fitted(self, ids: Sequence[int], new: str) -> tuple[int, ...]:
        """Spell `new` after tokens that the vocabulary might not have chosen for their text."""
        encode, decode = self._vocabulary.encode, self._vocabulary.decode
        text = decode(ids)
        whole = encode(text + new)
        if whole[: len(ids)] == list(ids):
            return tuple(whole[len(ids) :])
        for before in ("a =", "a=", "7", "("):
            known, more = encode(before), encode(before + new)
            tokens = more[len(known) :]
            if more[: len(known)] == known and decode([*ids, *tokens]) == text + new:
                return tuple(tokens)
        return ()

    def goes_on(self, token: int) -> bool:
        """Tell whether a token goes from `=` on into a number."""
        return token in self._tables.cuts

    def respelled(self, ids: Sequence[int], token: int) -> Due | None:
        """Return what a token should have been that goes from `=` on into a number.

        `ids` are the tokens before it. None where nothing is due there.
        """
        cut = self._tables.cuts[token]
        due = self.due([*ids, cut])
        if not due.tokens:
            return None
        tokens = [cut, *due.tokens]
        whole = self._vocabulary.encode(self._vocabulary.decode([*ids, *tokens]))
        fits = whole[: len(ids)] == list(ids)
        return Due(tuple(whole[len(ids) :] if fits else tokens), due.mask)

    def separates(self, token: int) -> bool:
        """Tell whether a token is a point or comma, behind which a digit would join the number."""
        return token in self._tables.separators


@dataclasses.dataclass(kw_only=True)
class Watch:
    """Follows the tokens of one row and says where they break the rules.

    Attributes:
      calculator: the rules.
      forced: how many values have been written so far.
      changed: of these, how many the student would have written otherwise.
      queue: the tokens that have to come next.
      fresh: whether one that `opens` may still come before them.
      mask: which tokens are forbidden next.
      again: whether the student has chosen a forbidden one, and chooses again.
    """

    calculator: Calculator
    forced: int = 0
    changed: int = 0
    queue: tuple[int, ...] = ()
    fresh: bool = False
    mask: int = FREE
    again: bool = False
    _seen: int = 0
    _next_mask: int = FREE
    _differs: bool = False
    _openings: int = 0
    _counted: bool = False

    @property
    def idle(self) -> bool:
        """Whether nothing is due until the next trigger."""
        return not self.queue and self.mask == FREE

    def skip(self, count: int) -> None:
        """Take in `count` tokens without a trigger while idle."""
        self._seen += count

    def read(
        self, tokens: Sequence[int], changed: Sequence[bool], calls: Sequence[int]
    ) -> int | None:
        """Take in the tokens that follow those of before.

        Args:
          tokens: all tokens of the row, EOS included.
          changed: of the new tokens, the last of `tokens`, whether the student chose another one.
          calls: the places among the new tokens of the calculator's `triggers`, in order; further
            ones may follow.

        Returns:
          The place in `tokens` of the first that must not stand, or None. From there on nothing has
          been taken in; `queue` or `again` say what comes instead.
        """
        calculator, first = self.calculator, len(tokens) - len(changed)
        assert first == self._seen, "a row's tokens come in order"
        i = first
        while i < len(tokens):
            if self.idle:
                # Nothing happens before the next trigger.
                i = next((first + call for call in calls if first + call >= i), len(tokens))
                self._seen = i = min(i, len(tokens))
                if i == len(tokens):
                    break
            token, opened = tokens[i], False
            opens = self.fresh and calculator.opens[token]
            if self.queue and opens and token != self.queue[0]:
                opened, self.queue = True, ()
            elif self.queue:
                if not self._write(token, changed[i - first]):
                    return i
            elif self.mask != FREE and not self._go_on(token):
                return i
            if not self.queue and (opened or calculator.triggers[token]):
                self._openings = self._openings + 1 if opened else 0
                if not self._due(tokens, i):
                    return i
            i += 1
            self._seen = i
        return None

    def _differ(self) -> None:
        if not self._differs:
            self._differs = True
            self.changed += 1

    def _write(self, token: int, changed: bool) -> bool:
        """Take in a token where one is due; return False where another has to stand."""
        if not self._counted:
            self._counted = True
            self.forced += 1
        self.fresh = False
        if changed or token != self.queue[0]:
            self._differ()
        if token != self.queue[0]:
            return False
        self.queue = self.queue[1:]
        if not self.queue:
            self.mask = self._next_mask
        return True

    def _go_on(self, token: int) -> bool:
        """Take in a token after a value; return False where it would change the number."""
        calculator = self.calculator
        if calculator.masks[self.mask, token] and not self.again:
            self.again = True
            self._differ()
            return False
        separates = self.mask != DIGITS and calculator.separates(token)
        self.again, self.mask = False, DIGITS if separates else FREE
        return True

    def _due(self, tokens: Sequence[int], i: int) -> bool:
        """Look what has to follow `tokens[i]`; return False where another has to stand there."""
        goes_on = self.calculator.goes_on(tokens[i])
        due = self.calculator.respelled(tokens[:i], tokens[i]) if goes_on else None
        if due is not None:
            self._differs, self._counted, self.fresh = False, False, False
            self.queue, self._next_mask = due.tokens, due.mask
            return self._write(tokens[i], changed=False)
        due = self.calculator.due(tokens[: i + 1])
        if due.tokens:
            self._differs, self._counted = False, False
            self.queue, self._next_mask = due.tokens, due.mask
            self.fresh = self._openings < _OPENINGS
        return True


def allows(calculator: Calculator | None, beam_size: int) -> None:
    """Raise UserError where a calculator is asked for that decoding cannot serve."""
    if calculator is not None and beam_size > 1:
        raise UserError(
            f"beam search (beam_size = {beam_size}) has no calculator: it would compare beams by "
            "tokens that no student chose; wanted greedy or sampled decoding, or none"
        )
