"""Conversations with a student, thousands in lockstep: the same turn of all is decoded together.

A style of one turn takes one round. In round r every conversation that is not at its end is asked
its turn r, all in one call of the student, so that iterative sub-questions fill a batch as well as
single chains do.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from t5distill import formats
from t5distill.formats.conversation import Talk
from t5distill.records import Prediction, Problem

# The sampling seed of a turn; that of the first turn is the run's own.
_SEED_STEP = 0x9E3779B1

# Of a problem, by sample, the predictions of the turns so far.
Turns = dict[int, list[Prediction]]


class Generator(Protocol):
    """What is needed of a student: `t5distill.Student` is one."""

    def fingerprint(self) -> str:
        """Return a text that changes with the weights."""
        ...

    def encode(self, text: str) -> str | list[int]:
        """Return a text as `generate` takes it with the least work."""
        ...

    def generate(
        self,
        texts: Sequence[str | list[int]],
        *,
        max_tokens: int,
        num_samples: int,
        temperature: float,
        top_k: int,
        top_p: float,
        beam_size: int,
        seed: int,
        indices: Sequence[int] | None,
        slots: int | None,
        calculator: bool,
        progress: Callable[[int, list[Prediction]], None] | None,
    ) -> list[list[Prediction]]:
        """Decode `texts`; see `t5distill.Student.generate`."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
    """How texts are decoded; see `t5distill.Student.generate`."""

    max_tokens: int
    num_samples: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    beam_size: int = 1
    seed: int = 0
    calculator: bool = False


@dataclasses.dataclass(kw_only=True)
class Rounds:
    """The conversations about some problems.

    What a conversation comes to depends on the problem's index, the sample and the settings, not on
    the others, so that a run that was cut off goes on to the same texts.

    Attributes:
      student: the network.
      problems: the questions.
      style: how they are asked.
      decoding: how answers are decoded.
      pool: what demonstrations are drawn from, by a style that shows some.
      first: of two students the one that comes first (`formats.conversation.Ask.first`), or None.
      slots: rows decoded together.
      kept: called with a problem's index, a turn's number and its predictions (`sample` says whose
        turn each is) as soon as they are there.
      done: called with a problem's index and its finished chains.
    """

    student: Generator
    problems: Sequence[Problem]
    style: str
    decoding: Decoding
    pool: Sequence[formats.Shot] = ()
    first: Generator | None = None
    slots: int | None = None
    kept: Callable[[int, int, list[Prediction]], None] = lambda *_: None
    done: Callable[[int, list[Prediction]], None] = lambda *_: None

    def run(self, known: Mapping[int, Turns] | None = None) -> list[list[Prediction]]:
        """Hold every conversation to its end; return each problem's chains by sample.

        Args:
          known: by index the turns of an earlier run, which are not asked again.
        """
        style = formats.style(self.style)
        samples = range(self.decoding.num_samples)
        self._turns: dict[tuple[int, int], list[Prediction]] = {}
        self._talks: dict[tuple[int, int], Talk] = {}
        self._next: dict[tuple[int, int], str | list[int]] = {}
        self._chains: list[list[Prediction]] = [[] for _ in self.problems]
        for i, problem in enumerate(self.problems):
            for s in samples:
                self._talks[i, s], self._turns[i, s] = Talk(style.converse(problem, self.pool)), []
            for s, turns in (known or {}).get(i, {}).items():
                for prediction in turns:
                    self._answer(i, s, prediction)
            self._end(i)
        while rounds := self._pending():
            # Those who are behind come first, so that all meet in the same turn.
            (turn, first), who = min(rounds.items())
            self._ask(turn, first, who)
        return self._chains

    def _pending(self) -> dict[tuple[int, bool], list[tuple[int, int]]]:
        """Return who is to be asked next, by turn and by student."""
        rounds = collections.defaultdict(list)
        for who, talk in self._talks.items():
            if talk.pending is not None:
                apart = talk.pending.first and self.first is not None
                rounds[talk.turns, apart].append(who)
        return rounds

    def _ask(self, turn: int, first: bool, who: list[tuple[int, int]]) -> None:
        """Ask one turn of many conversations."""
        decoding = dataclasses.asdict(self.decoding)
        decoding["seed"] = (self.decoding.seed + turn * _SEED_STEP) % 2**32
        count = self.decoding.num_samples
        if turn == 0:
            # All samples of a problem are asked the same, and share its encoding.
            asked = [(i, list(range(count))) for i in dict.fromkeys(i for i, _ in who)]
            indices = [i for i, _ in asked]
        else:
            asked = [(i, [s]) for i, s in who]
            indices = [i * count + s for i, s in who]
            decoding["num_samples"] = 1
        texts = [self._next.pop((i, s[0]), None) or self._encoded(i, s[0]) for i, s in asked]

        def keep(place: int, predictions: list[Prediction]) -> None:
            i, samples = asked[place]
            problem = self.problems[i]
            named = [
                dataclasses.replace(p, problem_id=problem.id, style=self.style, sample=s)
                for s, p in zip(samples, predictions, strict=True)
            ]
            self.kept(i, turn, named)
            for prediction in named:
                self._answer(i, prediction.sample, prediction)
                # Now, while the device decodes others, and not between two rounds.
                if self._talks[i, prediction.sample].pending is not None:
                    self._next[i, prediction.sample] = self._encoded(i, prediction.sample)
            self._end(i)

        student = self._of(first)
        student.generate(texts, **decoding, indices=indices, slots=self.slots, progress=keep)

    def _of(self, first: bool) -> Generator:
        return self.first if first and self.first is not None else self.student

    def _encoded(self, i: int, sample: int) -> str | list[int]:
        """Return what is asked next as the student who is asked takes it."""
        pending = self._talks[i, sample].pending
        assert pending is not None
        return self._of(pending.first).encode(pending.text)

    def _answer(self, i: int, sample: int, prediction: Prediction) -> None:
        self._turns[i, sample].append(prediction)
        self._talks[i, sample].answer(prediction.text, finished=prediction.finished)

    def _end(self, i: int) -> None:
        """Put a problem's chains together, once all its conversations are at their end."""
        talks = [self._talks[i, s] for s in range(self.decoding.num_samples)]
        if any(talk.pending is not None for talk in talks):
            return
        self._chains[i] = [_chain(talk, self._turns[i, s]) for s, talk in enumerate(talks)]
        self.done(i, self._chains[i])


def _chain(talk: Talk, turns: list[Prediction]) -> Prediction:
    """Return a conversation as one prediction; one of a single turn is that turn's."""
    last = turns[-1]
    if len(turns) == 1:
        return dataclasses.replace(last, text=talk.text)
    meta: dict[str, Any] = {
        "tokens": sum(p.meta.get("tokens", 0) for p in turns),
        "turns": len(turns),
    }
    if cut := sum(not p.finished for p in turns[:-1]):
        meta["turns_cut"] = cut
    if counts := [p.meta["calculator"] for p in turns if "calculator" in p.meta]:
        meta["calculator"] = {name: sum(c[name] for c in counts) for name in counts[0]}
    return dataclasses.replace(last, text=talk.text, meta={**last.meta, **meta})
