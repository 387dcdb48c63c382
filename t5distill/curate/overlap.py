"""Training problems and chains that repeat a problem of an evaluation split.

Three nets, from fine to coarse: the same question (`problems.splitting.identity`); half of the runs
of eight words of an evaluation question, anywhere in a question or a chain; and the same question
in other words, which has the same numbers and many of the words.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from t5distill.curate.texts import jaccard, ngrams, numbers, tokens
from t5distill.problems.splitting import identity
from t5distill.records import Problem
from t5distill.verify.tokens import words as listed

_N = 8
_SHARED_NGRAMS = 0.5
# A run of words that so many evaluation questions have is a phrase of the benchmark.
_PHRASE = 20

# How alike the words of a reworded question are. Where the answer and two numbers are the same too,
# less will do; without numbers, as in common sense, nearly everything must be the same.
_SAME_NUMBERS = 0.4
_FEWER_NUMBERS = 0.7
# A word that more than this share of the evaluation questions have finds no candidates.
_COMMON = 0.02

_LITTLE = frozenset(
    listed(
        "a an and are as at be been being but by can could did do does for from had has have he "
        "her his how i if in into is it its many much of on or she so than that the their them "
        "then there they this to was we were what when where which who will with would you"
    )
)


class Found(NamedTuple):
    """An overlap: the reason to reject (`overlap` or `overlap_near`) and a sentence about it."""

    reason: str
    detail: str


class Overlap:
    """An index of evaluation problems; a look-up takes time linear in the text."""

    def __init__(self, problems: Iterable[Problem]):
        """Index the problems of all evaluation splits."""
        self._problems = list(problems)
        self._exact: dict[str, int] = {}
        self._words: list[frozenset[str]] = []
        self._sizes: list[int] = []
        self._by_ngram: dict[int, list[int]] = collections.defaultdict(list)
        self._by_numbers: dict[tuple[str, ...], list[int]] = collections.defaultdict(list)
        self._by_word: dict[str, list[int]] = collections.defaultdict(list)
        for i, problem in enumerate(self._problems):
            self._exact.setdefault(identity(problem), i)
            words = tokens(problem.question)
            runs = _runs(words)
            self._sizes.append(len(runs))
            for run in runs:
                self._by_ngram[run].append(i)
            content = _content(words, problem)
            self._words.append(content)
            self._by_numbers[_key(words)].append(i)
            for word in content:
                self._by_word[word].append(i)
        phrases = [run for run, owners in self._by_ngram.items() if len(owners) > _PHRASE]
        for run in phrases:
            for i in self._by_ngram.pop(run):
                self._sizes[i] -= 1

    def __len__(self) -> int:
        return len(self._problems)

    def of_problem(self, problem: Problem) -> Found | None:
        """Return how a training problem repeats an evaluation problem, or None."""
        same = self._exact.get(identity(problem))
        if same is not None:
            return Found("overlap", f"The question is that of {self._name(same)}.")
        words = tokens(problem.question)
        return self._quoted(words) or self._reworded(words, problem)

    def of_text(self, text: str) -> Found | None:
        """Return how a chain quotes the question of an evaluation problem, or None."""
        return self._quoted(tokens(text))

    def _quoted(self, words: Sequence[str]) -> Found | None:
        """Look for half of the runs of words of an evaluation question."""
        shared = collections.Counter(
            i for run in _runs(words) if run in self._by_ngram for i in self._by_ngram[run]
        )
        for i, count in sorted(shared.items()):
            if count >= _SHARED_NGRAMS * self._sizes[i]:
                share = f"{count} of {self._sizes[i]} runs of {_N} words"
                return Found("overlap_near", f"It has {share} of {self._name(i)}.")
        return None

    def _reworded(self, words: Sequence[str], problem: Problem) -> Found | None:
        """Look for a question with the same numbers and alike words."""
        content = _content(words, problem)
        if not content:
            return None  # "What is 12 + 7?" has no words to be alike
        key = _key(words)
        if key:
            candidates: Iterable[int] = self._by_numbers.get(key, ())
        else:
            common = max(_PHRASE, _COMMON * len(self._problems))
            rare = (self._by_word[w] for w in content if w in self._by_word)
            counts = collections.Counter(i for own in rare if len(own) <= common for i in own)
            candidates = sorted(i for i, count in counts.items() if count > 1)
        for i in candidates:
            other = self._problems[i]
            certain = len(key) > 1 and other.answer == problem.answer
            wanted = _SAME_NUMBERS if certain else _FEWER_NUMBERS
            if _key(tokens(other.question)) != key or other.kind != problem.kind:
                continue
            alike = jaccard(content, self._words[i])
            if alike >= wanted:
                words_alike = f"{100 * alike:.0f} % of the words"
                return Found("overlap_near", f"The numbers and {words_alike} of {self._name(i)}.")
        return None

    def _name(self, i: int) -> str:
        problem = self._problems[i]
        return f"{problem.id} ({problem.benchmark}, {problem.split})"


def _runs(words: Sequence[str]) -> set[int]:
    """Return the hashes of the runs of `_N` words; of a shorter text none."""
    return set(map(hash, ngrams(words, _N))) if len(words) >= _N else set()


def _key(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(numbers(words)))


def _content(words: Sequence[str], problem: Problem) -> frozenset[str]:
    """Return the words that say what a question is about, plurals as singulars, with options."""
    options = [word for text in problem.choices or () for word in tokens(text)]
    words = [w for w in (*words, *options) if not w[0].isdigit() and w not in _LITTLE and w != "s"]
    return frozenset(w.removesuffix("s") if len(w) > 3 else w for w in words)
