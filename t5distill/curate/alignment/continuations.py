"""Which tokens a student would write for a text that goes on from its own tokens."""

from __future__ import annotations

import functools
import re
import threading
from typing import NamedTuple

from t5distill.curate.alignment import rows, steps
from t5distill.formats.vocabulary import ByteVocabulary, SentencePieceVocabulary

Vocabulary = SentencePieceVocabulary | ByteVocabulary

_MOST_REMEMBERED = 1 << 18

# An entry of those by context holds several alternatives.
_PART = 8
_BLANKS = " \n"
_SPACE = re.compile(r"(?<=[^ \n]) (?=[^ \n])")
# What the first token of a text is where only its context could say it, or nothing.
IN_CONTEXT, NOTHING = -2, -1


class Pair(NamedTuple):
    """A chain's tokens beside those of its target.

    Attributes:
      text: the target.
      ids: the student's, of all of it.
      bounds: where in `text` each begins, and behind them where the last one ends.
      read: the teacher's tokens.
      own: as `bounds`, of the teacher's tokens; those outside of `text` too.
      begin: where in `text` the part begins that stands in the chain.
      end: where it ends.
    """

    text: str
    ids: list[int]
    bounds: list[int]
    read: steps.Steps
    own: list[int]
    begin: int
    end: int


class Continuations:
    """The tokens of texts in their contexts, remembered: alternatives come again and again.

    Attributes:
      lock: to be held in use: tasks prepare examples in several threads.
      coded: alternatives, each with the first id of what a student would write for it: behind a
        whole word for those that begin with a space, anywhere for bytes; `IN_CONTEXT` for others.
    """

    def __init__(self, vocabulary: Vocabulary):
        """Start with an empty memory."""
        self.vocabulary = vocabulary
        self.lock = threading.Lock()
        self.coded = rows.Coded(self._first_id)
        self._bytes = isinstance(vocabulary, ByteVocabulary)
        self._tokens: dict[str, list[int]] = {}
        self._usable: dict[str, str] = {}
        self._opens = _Opens(vocabulary)
        self._firsts: dict[tuple, _Firsts] = {}

    def forget(self) -> None:
        """Start again where there is very much: memory does not grow without end."""
        many = len(self.coded), len(self._tokens), len(self._usable), _PART * len(self._firsts)
        if max(many) > _MOST_REMEMBERED:
            for memory in (self.coded, self._tokens, self._usable, self._firsts):
                memory.clear()

    def usable(self, alternative: str) -> str:
        """Return what of an alternative can be written with certainty; "" for nothing.

        How spaces at its end are spelled depends on what would have followed them.
        """
        found = self._usable.get(alternative)
        if found is None:
            found = alternative.rstrip(" ") if steps.is_text(alternative) else ""
            self._usable[alternative] = found
        return found

    def tokens(self, text: str) -> list[int]:
        """Return the ids of a text that begins with a word."""
        found = self._tokens.get(text)
        if found is None:
            found = self._tokens[text] = self.vocabulary.encode(text)
        return found

    def _first_id(self, alternative: str) -> int:
        text = self.usable(alternative)
        if not text:
            return NOTHING
        behind_space = text[0] == " " and text[1] not in _BLANKS
        if not self._bytes and not behind_space:
            return IN_CONTEXT
        tokens = self.tokens(text if self._bytes else text[1:])
        return tokens[0] if tokens else NOTHING

    def behind_words(self, pair: Pair, tokens: list[int]) -> list[bool]:
        """Return for some tokens whether `coded` has the first ids of its alternatives.

        That is where the target itself goes on with a space and a word: the word before is whole
        then, and stays as it is whatever other word follows.
        """
        if self._bytes:
            return [True] * len(tokens)
        spaces = {found.start() for found in _SPACE.finditer(pair.text)}
        return [pair.bounds[j] in spaces for j in tokens]

    def context(self, pair: Pair, j: int) -> tuple[str, list[int]]:
        """Return the text from the last word's beginning up to token `j`, and its tokens.

        No piece reaches across the beginning of a word, so what stands before it has no influence
        on the tokens behind it. A byte's token depends on nothing at all.
        """
        if self._bytes or j == 0:
            return "", []
        ids, opens, first = pair.ids, self._opens, j - 1
        while first > 0 and not opens[ids[first]]:
            first -= 1
        begin = pair.bounds[first]
        # The tokenizer puts the space before a first word itself.
        if begin > 0 and pair.text[begin] == " ":
            begin += 1
        return pair.text[begin : pair.bounds[j]], ids[first:j]

    def firsts(self, pair: Pair, j: int) -> _Firsts:
        """Return the first ids of numbered alternatives of token `j`, given what is before it."""
        context, before = self.context(pair, j)
        key = (context, *before)
        found = self._firsts.get(key)
        if found is None:
            found = self._firsts[key] = _Firsts(self, context, before)
        return found


class _Firsts(dict[int, int]):
    """The first ids of numbered alternatives in one context, found as they are asked for."""

    def __init__(self, memory: Continuations, context: str, before: list[int]):
        super().__init__()
        self._memory, self._context, self._before = memory, context, before

    def __missing__(self, code: int) -> int:
        text = self._memory.usable(self._memory.coded.texts[code])
        tokens = self._memory.tokens(self._context + text) if text else []
        known = len(self._before)
        follows = len(tokens) > known and tokens[:known] == self._before
        found = self[code] = tokens[known] if follows else NOTHING
        return found


class _Opens(dict[int, bool]):
    """Whether pieces begin words."""

    def __init__(self, vocabulary: Vocabulary):
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, i: int) -> bool:
        found = self[i] = self._vocabulary.piece(i).startswith("▁")
        return found


@functools.lru_cache(maxsize=4)
def of(vocabulary: Vocabulary) -> Continuations:
    """Return the memory of a vocabulary."""
    return Continuations(vocabulary)
