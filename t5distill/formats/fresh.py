"""Examples that are drawn anew in every epoch: with demonstrations, or of several chains.

In context (Fu et al. 2023, section 3.2): four solved problems stand before the question, chains of
thought or bare answers. Divergent (Puerto et al. 2024): the target holds k chains of the problem in
random order, and the input says how many.

A draw depends on a generator: in training one of the epoch's, in evaluation one of the problem's
own, so that a problem is always asked alike.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import NamedTuple

from t5distill.formats import answer, cot
from t5distill.formats.example import Example
from t5distill.problems.splitting import normalised
from t5distill.records import Chain, Problem

DEMONSTRATIONS = 4
MOST_CHAINS = 4


class Shot(NamedTuple):
    """A solved problem of the training split that may be shown."""

    problem: Problem
    chain: Chain


class Drawn(NamedTuple):
    """What an example is made from.

    Attributes:
      problem: the one that is asked.
      chains: its chains; in evaluation its own solution, or none.
      rng: decides everything that is drawn.
      pool: what demonstrations are drawn from.
      evaluation: whether it is asked, not learnt.
    """

    problem: Problem
    chains: Sequence[Chain]
    rng: random.Random
    pool: Sequence[Shot] = ()
    evaluation: bool = False


def own_rng(problem: Problem) -> random.Random:
    """Return the generator of a problem's draws in evaluation."""
    return random.Random(f"demonstrations of {problem.id}")


def cot_in_context(drawn: Drawn) -> Example:
    """Return a chain-of-thought example after demonstrations of the same form."""
    shown = [f"{cot.inputs(s.problem)} {cot.targets(s.problem, s.chain)}" for s in _shots(drawn)]
    chain = drawn.rng.choice(drawn.chains) if drawn.chains else None
    inputs = "\n\n".join((*shown, cot.inputs(drawn.problem)))
    return Example(inputs, cot.targets(drawn.problem, chain))


def answer_in_context(drawn: Drawn) -> Example:
    """Return an answer-only example after demonstrations of the same form."""
    shown = [f"{answer.inputs(s.problem)} {answer.sentence(s.problem)}" for s in _shots(drawn)]
    inputs = "\n\n".join((*shown, answer.inputs(drawn.problem)))
    return Example(inputs, answer.sentence(drawn.problem))


def _shots(drawn: Drawn) -> list[Shot]:
    """Draw demonstrations, none of which is the problem itself or a copy of it."""
    question = normalised(drawn.problem.question)
    # One more for each copy that may have to be left out.
    order = drawn.rng.sample(range(len(drawn.pool)), min(len(drawn.pool), 4 * DEMONSTRATIONS))
    fitting = (
        drawn.pool[i]
        for i in order
        if drawn.pool[i].problem.id != drawn.problem.id
        and normalised(drawn.pool[i].problem.question) != question
    )
    return [shot for shot, _ in zip(fitting, range(DEMONSTRATIONS), strict=False)]


class Divergent(NamedTuple):
    """Several chains in one target.

    Attributes:
      count: how many are asked for; None draws it in training and asks for two in evaluation.
    """

    count: int | None = None

    def draw(self, drawn: Drawn) -> Example:
        """Return an example of as many chains as are asked for, or as there are.

        In evaluation as many are asked for whatever there is to compare with: a problem's own
        solution stands for all of them.
        """
        if drawn.evaluation:
            count = None
            chosen = list(itertools.islice(itertools.cycle(drawn.chains), self._asked()))
        else:
            most = min(len(drawn.chains), self.count or MOST_CHAINS)
            count = most if self.count or not most else drawn.rng.randint(1, most)
            chosen = drawn.rng.sample(list(drawn.chains), count)
        parts = [
            f"Answer {i}: {cot.rationale(chain.text)}" for i, chain in enumerate(chosen, start=1)
        ]
        parts.append(f"Final: {answer.sentence(drawn.problem)}")
        return Example(self.inputs(drawn.problem, count or None), "\n".join(parts))

    def inputs(self, problem: Problem, count: int | None = None) -> str:
        """Return what the student reads."""
        return f"{answer.question(problem)}\nNumber of answers: {count or self._asked()}"

    def _asked(self) -> int:
        """Return how many chains are asked for in evaluation."""
        return self.count or 2
