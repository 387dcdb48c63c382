"""Log-probabilities of the loopback teacher: those of the generator that writes its texts."""

from __future__ import annotations

import collections
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from t5distill.records import Problem
from t5distill.teacher.loopback import tokens
from t5distill.teacher.loopback.answers import MISREAD_STYLES, Writer

# What a position leaves to tokens that the generator would not write. Half of it goes to listed
# alternatives, the rest to words that are not listed, so that every list sums to less than 1.
_NOISE = (0.005, 0.05)
_LISTED = 0.5
# Of a token that is neither: one of those that are not listed.
_UNEXPECTED = 0.25

# A generator that always errs would leave nothing to the last right number.
_SUREST_ERROR = 0.99


class Wording(NamedTuple):
    """One right answer.

    Attributes:
      tokens: which joined are its text.
      p: its probability among all right answers.
      places: positions of numbers where a wrong answer can first differ, in order.
    """

    tokens: list[str]
    p: float
    places: list[int]


class Probabilities:
    """Gives the tokens of answers the log-probabilities that their generator has for them.

    At each position these are the shares of the wordings that begin with what is written so far,
    whether the text was sampled or not: greedy decoding has the same model. With a writer that
    errs, each result (for programs and equations each number) has near numbers beside it; these
    shares make up the wrong rate over a whole text. Malformed answers have none.

    Every position leaves 0.5 % to 5 % to other tokens, as real models do: near numbers or function
    words, each with half the share of the one before. A token with which a text leaves all
    wordings, and which is none of these, has a quarter of it. From there on the text is sure of
    itself: each token has all but this noise.

    All is drawn from the writer's seed, the question and the prefix, and so depends neither on the
    request nor on what was asked before.

    Attributes:
      writer: of the texts.
      known: the wordings of the answers that were asked for last.
    """

    def __init__(self, writer: Writer, *, remembered: int = 256):
        """Take the writer of the texts, and how many answers' wordings to keep at hand."""
        self.writer = writer
        self.known: collections.OrderedDict[tuple[str, ...], list[Wording]]
        self.known = collections.OrderedDict()
        self._remembered = remembered

    def rows(
        self,
        made: Sequence[str],
        k: int,
        *,
        problem: Problem | None,
        style: str,
        blank: str = "",
        answer: str | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Return for each token of a text its log-probability and the likeliest others.

        Args:
          made: the tokens.
          k: how many of the likeliest to list, 20 at most; 0 gives the token alone.
          problem: that the text answers, or None where the question is not known.
          style: one of `records.STYLES`.
          blank: with which the text begins, before the wording.
          answer: the only text that there is, instead of the style's wordings.

        Returns:
          for each token pairs of a token and its log-probability: the token itself first, then
          the other ones in order. They are the k likeliest, or these and the token. No token
          occurs twice, and the probabilities sum to less than 1.
        """
        if answer is None:
            alive, rate = self._wordings(problem, style, blank), self.writer.wrong_rate
        else:
            alive, rate = [Wording(tokens.pieces(blank + answer), 1.0, [])], 0.0
        table, prefix = [], ""
        for at, token in enumerate(made):
            expected = _expected(alive, at, rate) if alive else {token: 1.0}
            rng = self.writer.rng(problem, style, f"log-probabilities\n{prefix}")
            table.append(_row(token, expected, k=k, rng=rng))
            alive = [w for w in alive if w.tokens[at : at + 1] == [token]]
            prefix += token
        return table

    def _wordings(self, problem: Problem | None, style: str, blank: str) -> list[Wording]:
        """Return the wordings of an answer, found again where it was asked for before."""
        question = (problem.id, problem.question) if problem else ()
        key = (*question, style, blank)
        if key not in self.known:
            found = []
            for text, p in self.writer.wordings(problem, style):
                made = tokens.pieces(blank + text)
                found.append(Wording(made, p, _places(made, style)))
            self.known[key] = found
            if len(self.known) > self._remembered:
                self.known.popitem(last=False)
        self.known.move_to_end(key)
        return self.known[key]


def _row(
    token: str, expected: dict[str, float], *, k: int, rng: random.Random
) -> list[tuple[str, float]]:
    """Return one row of `Probabilities.rows`: what is expected, less the noise."""
    noise = rng.uniform(*_NOISE)
    listed = {other: (1.0 - noise) * p for other, p in expected.items()}
    likeliest = max(expected, key=lambda other: expected[other]) if expected else token
    share = _LISTED * noise
    # All alternatives, whatever k is: their probabilities must not depend on it.
    for other in tokens.alternatives(likeliest, rng):
        share /= 2.0
        listed[other] = listed.get(other, 0.0) + share
    own = listed.pop(token, _UNEXPECTED * noise)
    others = sorted(listed.items(), key=lambda pair: -pair[1])
    if k > 0 and own >= others[k - 1][1]:
        k -= 1
    return [(other, round(math.log(p), 6)) for other, p in [(token, own), *others[:k]]]


def _places(made: Sequence[str], style: str) -> list[int]:
    """Return where a wrong answer can first differ from a right one.

    In a chain these are the results of its steps, for only they are worked out wrongly. Programs
    and equations go wrong at any number, an answer alone at its only one.
    """
    numbers = [at for at, token in enumerate(made) if tokens.is_number(token)]
    if style in (*MISREAD_STYLES, "answer"):
        return numbers
    return [at for at in numbers if at and made[at - 1].strip() == "="]


def _expected(alive: Sequence[Wording], at: int, rate: float) -> dict[str, float]:
    """Return what the generator writes next, with its probabilities.

    Args:
      alive: the wordings that begin with what is written so far.
      at: the position, which is the number of tokens so far.
      rate: the writer's wrong rate.

    Returns:
      probabilities of tokens; what is missing from 1 is that of the text's end.
    """
    whole = sum(wording.p for wording in alive)
    expected: dict[str, float] = {}
    for wording in alive:
        if at == len(wording.tokens):
            continue
        token, p = wording.tokens[at], wording.p / whole
        error = _error(wording.places, at, rate)
        expected[token] = expected.get(token, 0.0) + p * (1.0 - error)
        if error > 0.0:
            near = tokens.near_numbers(token)
            for other in near:
                expected[other] = expected.get(other, 0.0) + p * error / len(near)
    return expected


def _error(places: Sequence[int], at: int, rate: float) -> float:
    """Return the probability of a wrong number at a position, given that none came before.

    The first error of a wrong text is at each place alike, so all places together have the rate.
    """
    if at not in places:
        return 0.0
    each, passed = rate / len(places), places.index(at)
    return min(each / (1.0 - each * passed), _SUREST_ERROR)
