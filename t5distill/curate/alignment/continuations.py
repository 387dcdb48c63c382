"""Which tokens a student would write for a text that goes on from its own tokens."""

from __future__ import annotations

import functools

from t5distill.curate.alignment import steps
from t5distill.formats.vocabulary import ByteVocabulary, SentencePieceVocabulary

Vocabulary = SentencePieceVocabulary | ByteVocabulary

_MOST_REMEMBERED = 1 << 18


class Continuations:
    """The tokens of texts in their contexts, remembered: alternatives come again and again."""

    def __init__(self, vocabulary: Vocabulary):
        """Start with an empty memory."""
        self.vocabulary = vocabulary
        self._bytes = isinstance(vocabulary, ByteVocabulary)
        self._tokens: dict[str, list[int]] = {}
        self._usable: dict[str, str] = {}
        self._opens: dict[int, bool] = {}

    def usable(self, alternative: str) -> str:
        """Return what of an alternative can be written with certainty; "" for nothing.

        How spaces at its end are spelled depends on what would have followed them.
        """
        found = self._usable.get(alternative)
        if found is None:
            found = alternative.rstrip(" ") if steps.is_text(alternative) else ""
            _remember(self._usable, alternative, found)
        return found

    def tokens(self, text: str) -> list[int]:
        """Return the ids of a text that begins with a word."""
        found = self._tokens.get(text)
        if found is None:
            found = self.vocabulary.encode(text)
            _remember(self._tokens, text, found)
        return found

    def context(self, text: str, ids: list[int], starts: list[int], j: int) -> tuple[str, int]:
        """Return the text from the last word's beginning up to token `j`, and its first token.

        No piece reaches across the beginning of a word, so what stands before it has no influence
        on the tokens behind it. A byte's token depends on nothing at all.
        """
        if self._bytes or j == 0:
            return "", j
        first = j - 1
        while first > 0 and not self._opens_word(ids[first]):
            first -= 1
        begin = starts[first]
        # The tokenizer puts the space before a first word itself.
        if begin > 0 and text[begin : begin + 1] == " ":
            begin += 1
        return text[begin : starts[j]], first

    def _opens_word(self, i: int) -> bool:
        found = self._opens.get(i)
        if found is None:
            found = self._opens[i] = self.vocabulary.piece(i).startswith("▁")
        return found


def _remember(memory: dict, key: str, value: object) -> None:
    """Put an entry into a memory that never grows without end."""
    if len(memory) >= _MOST_REMEMBERED:
        memory.clear()
    memory[key] = value


@functools.lru_cache(maxsize=4)
def of(vocabulary: Vocabulary) -> Continuations:
    """Return the memory of a vocabulary."""
    return Continuations(vocabulary)
