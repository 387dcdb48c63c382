"""What becomes of each chain: kept, kept as a negative, or left out, and for which reason.

The reasons, in the order in which they are looked for (the first that applies is the one counted):

    wrong, no_answer, truncated,         the verdict of `verify.judge_chain` on the chain without
    error, timeout, rejected             run-on; programs are run, equations solved
    leak             it gives away that the teacher was shown the answer
    wrong_step       an equation in it is false, though the answer is right
    too_long         longer than the student reads or writes, in its tokens
    overlap          its problem is one of an evaluation split
    overlap_near     its problem nearly is, or the chain quotes one
    logprobs         not the log-probabilities that soft labels need
    duplicate        the same words as another chain of the problem
    near_duplicate   the same calculation in nearly the same words
    cap              more chains of the problem than were wanted
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from t5distill import formats, verify
from t5distill.curate import alignment, leaks
from t5distill.curate.choosing import CHOICES, Duplicates, choose
from t5distill.curate.cutting import cut
from t5distill.curate.overlap import Found, Overlap
from t5distill.errors import UserError, suggest
from t5distill.formats import vocabulary
from t5distill.records import Chain, Problem
from t5distill.verify.calculator import check_steps
from t5distill.verify.execution import executed_style
from t5distill.verify.plain import own_part, plain

REASONS = (
    "wrong",
    "no_answer",
    "truncated",
    "error",
    "timeout",
    "rejected",
    "leak",
    "wrong_step",
    "too_long",
    "overlap",
    "overlap_near",
    "logprobs",
    "duplicate",
    "near_duplicate",
    "cap",
)
KEPT, NEGATIVE, REJECTED = "kept", "negative", "rejected"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What is wanted of a training set.

    Attributes:
      keep_wrong_steps: keep right chains with a false equation in them.
      keep_wrong: keep chains with a wrong answer as if they were right.
      near: similarity (0 to 1) from which chains of a problem are near duplicates; above 1 only
        equal texts are.
      per_problem: the most chains of one problem, or None.
      choose: which of them: `first`, `random` or `diverse`, see `choosing.choose`.
      seed: of `random`.
      negatives: keep wrong chains too, apart from the right ones.
      lengths: the most tokens of inputs and targets with their end of sequence, or None.
      vocab: the student's vocabulary, which tokens are counted in.
      soft_labels: how many alternatives every token of a kept chain has with its log-probability,
        or None where none are needed.
    """

    keep_wrong_steps: bool = False
    keep_wrong: bool = False
    near: float = 0.8
    per_problem: int | None = None
    choose: str = "first"
    seed: int = 0
    negatives: bool = False
    lengths: tuple[int, int] | None = None
    vocab: str = "t5"
    soft_labels: int | None = None

    def __post_init__(self):
        if self.choose not in CHOICES:
            raise UserError(
                f"chains are chosen by {self.choose!r}; {suggest(self.choose, CHOICES)}"
            )
        if not self.near > 0:
            raise UserError(f"near duplicates are {self.near} alike, wanted a share above 0")
        if self.keep_wrong and self.negatives:
            raise UserError("wrong chains are either kept or negatives (--keep-wrong, --negatives)")
        if self.per_problem is not None and self.per_problem < 1:
            raise UserError(f"{self.per_problem} chains of a problem, wanted at least 1")
        if self.lengths and min(self.lengths) < 2:
            raise UserError(f"lengths are {self.lengths}, wanted at least 2 tokens each")
        if self.soft_labels is not None and self.soft_labels < 1:
            raise UserError(f"soft labels of {self.soft_labels} alternatives, wanted at least 1")


class SoftCounts(NamedTuple):
    """What is counted of a chain's soft labels.

    Attributes:
      cases: the tokens of its target, by `alignment.CASES`.
      soft: tokens with a soft target.
      mass: the sum of the probabilities that those have.
    """

    cases: tuple[int, ...]
    soft: int
    mass: float


class Decided(NamedTuple):
    """What became of a chain.

    Attributes:
      chain: without run-on text and with its verdict; `meta` has `reason` and `detail` where it was
        left out, and `cut`, the number of characters cut off, where there were any.
      fate: `kept`, `negative` or `rejected`.
      target_tokens: the length of the student's target, where it was counted.
      soft: what of its soft labels is counted, where they are wanted.
    """

    chain: Chain
    fate: str
    target_tokens: int | None
    soft: SoftCounts | None = None


class Filter:
    """The rules, with what they need: the evaluation problems and the vocabulary."""

    def __init__(self, rules: Rules, evaluation: Iterable[Problem] = ()):
        """Index the evaluation problems and load the vocabulary, where there are any."""
        self._rules = rules
        self._overlap = Overlap(evaluation)
        needed = rules.lengths or rules.soft_labels
        self._vocabulary = vocabulary.load(rules.vocab) if needed else None

    def decide(self, problem: Problem, chains: Sequence[Chain]) -> list[Decided]:
        """Decide on all the chains of one problem; their order does not matter.

        Returns:
          One decision for each chain, by sample.
        """
        chains = sorted(chains, key=lambda c: (c.sample, c.text))
        overlap = self._overlap.of_problem(problem)
        seen = {fate: Duplicates(self._rules.near) for fate in (KEPT, NEGATIVE)}
        decided = [self._alone(problem, chain, overlap) for chain in chains]
        for i, (chain, fate, tokens, _) in enumerate(decided):
            if fate != REJECTED and (found := seen[fate].add(chain)):
                decided[i] = Decided(_rejected(chain, *found), REJECTED, tokens)
        for fate in (KEPT, NEGATIVE):
            self._cap(decided, fate)
        return decided

    def _alone(self, problem: Problem, chain: Chain, overlap: Found | None) -> Decided:
        """Decide on a chain apart from the problem's others."""
        finished = chain.meta.get("finish_reason") != "length"
        text, ended = cut(chain.text, style=chain.style, finished=finished)
        verdict = verify.judge_chain(text, problem, style=chain.style, finished=ended)
        whole = plain(text)
        if not executed_style(chain.style) and len(own_part(whole)) < len(whole):
            # The judge reads it up to a question in its middle: only half of it would be verified.
            detail = "Another question begins before the answer."
            verdict = dataclasses.replace(verdict, outcome="no_answer", detail=detail)
        chain = _shortened(dataclasses.replace(chain, verdict=verdict.outcome), text)
        wrong = verdict.outcome == "wrong"
        negative = self._rules.negatives and wrong
        if verdict.outcome != "correct" and not negative and not (self._rules.keep_wrong and wrong):
            return Decided(_rejected(chain, str(verdict.outcome), verdict.detail), REJECTED, None)
        # What is kept although it is wrong has its flaw anyway.
        if not wrong and (found := self._flaw(problem, text, chain.style)):
            return Decided(_rejected(chain, *found), REJECTED, None)
        tokens, found = self._length(problem, chain)
        found = found or overlap or self._overlap.of_text(text)
        if found:
            return Decided(_rejected(chain, *found), REJECTED, tokens)
        if negative:
            return Decided(chain, NEGATIVE, tokens)
        try:
            return Decided(chain, KEPT, tokens, self._soft_counts(problem, chain))
        except ValueError as e:
            return Decided(_rejected(chain, "logprobs", str(e)), REJECTED, tokens)

    def _soft_counts(self, problem: Problem, chain: Chain) -> SoftCounts | None:
        """Return what is counted of a chain's soft labels; raise ValueError where it has none."""
        k = self._rules.soft_labels
        if k is None or self._vocabulary is None:
            return None
        alignment.check(chain, k)
        target = formats.style(chain.style).targets(problem, chain)
        found = alignment.align(target, chain, self._vocabulary, k=k)
        masses = found.probabilities.sum(axis=1)
        cases = np.bincount(found.cases, minlength=len(alignment.CASES))
        return SoftCounts(tuple(cases.tolist()), int(np.count_nonzero(masses)), float(masses.sum()))

    def _flaw(self, problem: Problem, text: str, style: str) -> tuple[str, str] | None:
        """Return what is wrong with a chain whose answer is right."""
        leak = leaks.find(text, problem, style=style)
        if leak:
            return "leak", leak
        if self._rules.keep_wrong_steps or executed_style(style):
            return None
        wrong = next((step for step in check_steps(text) if not step.ok), None)
        return ("wrong_step", f"False: {wrong.equation!r}.") if wrong else None

    def _length(self, problem: Problem, chain: Chain) -> tuple[int | None, tuple[str, str] | None]:
        """Return the target's length and, where something is too long, the reason."""
        if self._vocabulary is None or self._rules.lengths is None:
            return None, None
        style = formats.style(chain.style)
        texts = style.inputs(problem), style.targets(problem, chain)
        found = tuple(len(self._vocabulary.encode(text)) + 1 for text in texts)
        if all(n <= most for n, most in zip(found, self._rules.lengths, strict=True)):
            return found[1], None
        detail = "{} tokens of inputs and {} of targets, at most {} and {} wanted."
        return found[1], ("too_long", detail.format(*found, *self._rules.lengths))

    def _cap(self, decided: list[Decided], fate: str) -> None:
        """Leave out what is more than wanted of a problem."""
        most = self._rules.per_problem
        places = [i for i, one in enumerate(decided) if one.fate == fate]
        if most is None or len(places) <= most:
            return
        chains = [decided[i].chain for i in places]
        kept = choose(chains, most, how=self._rules.choose, seed=self._rules.seed)
        detail = f"{len(places)} chains of the problem, {most} wanted."
        for position, i in enumerate(places):
            if position not in kept:
                chain = _rejected(decided[i].chain, "cap", detail)
                decided[i] = decided[i]._replace(chain=chain, fate=REJECTED)


def _rejected(chain: Chain, reason: str, detail: str) -> Chain:
    return dataclasses.replace(chain, meta={**chain.meta, "reason": reason, "detail": detail})


def _shortened(chain: Chain, text: str) -> Chain:
    """Return a chain with less text, and with the log-probabilities of no more than that."""
    # What an earlier curation said of it is no longer true.
    meta = {k: v for k, v in chain.meta.items() if k not in ("reason", "detail", "cut")}
    lost = len(chain.text.strip()) - len(text)
    if lost:
        meta["cut"] = lost
    if lost and "tokens" in meta:
        tokens = _tokens_of(meta.pop("tokens"), len(text))
        if tokens is not None:
            meta["tokens"] = tokens
    return dataclasses.replace(chain, text=text, meta=meta)


def _tokens_of(tokens: Any, length: int) -> list[Any] | None:
    """Return the tokens of the first characters, or None where they have another form.

    White space before the first word is not counted.
    """
    found, position = [], None
    for token in tokens if isinstance(tokens, list) else ():
        text = token.get("text") if isinstance(token, dict) else None
        if not isinstance(text, str):
            return None
        if position is None and text.strip():
            position = -(len(text) - len(text.lstrip()))
        if (position or 0) < length:
            found.append(token)
        position = None if position is None else position + len(text)
    return found or None
