"""What SeqIO's evaluator, and so T5X, reports of a task: accuracy and every outcome's share."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.struct
import numpy as np
import seqio

from t5distill.formats.vocabulary import EOS_ID, PAD_ID
from t5distill.records import OUTCOMES, Problem


def outcome_shares(
    targets: Sequence[Mapping[str, Any]], predictions: Sequence[str], style: str | None = None
) -> dict[str, float]:
    """Judge predicted texts.

    Args:
      targets: for each example its `answer`, `kind` and `choices`, and optionally `finished`: False
        where decoding hit its length limit.
      predictions: the decoded texts.
      style: how they are written; a text where None.

    Returns:
      `accuracy` and `outcome/...` for every outcome, each in percent of the examples.
    """
    from t5distill.verify import judge_chain

    counts: collections.Counter[str] = collections.Counter()
    for target, text in zip(targets, predictions, strict=True):
        problem = Problem(
            id=target.get("id", ""),
            question="",
            answer=target["answer"],
            kind=target["kind"],
            benchmark="",
            split="test",
            choices=target["choices"],
        )
        finished = target.get("finished", True)
        verdict = judge_chain(text, problem, style=style, finished=finished)
        counts[str(verdict.outcome)] += 1
    percent = 100.0 / max(len(predictions), 1)
    shares = {f"outcome/{outcome}": percent * counts[outcome] for outcome in OUTCOMES}
    return {"accuracy": percent * counts["correct"], **shares}


@flax.struct.dataclass
class Outcomes(seqio.metrics.Metric):
    """`outcome_shares` as a SeqIO metric object.

    A metric function would see decoded text only; the tokens tell whether an output was cut off
    before its end of sequence, and a cut-off chain without an answer counts as truncated.

    Attributes:
      style: how the texts are written, see `outcomes_of`.
      shares: what `compute` returns, in percent.
      targets_and_inferences: what SeqIO's JSON logger writes.
    """

    model_output_type: seqio.metrics.ModelOutputType = seqio.metrics.ModelOutputType.PREDICTION
    style: ClassVar[str | None] = None
    shares: dict[str, float] = flax.struct.field(pytree_node=False, default_factory=dict)
    targets_and_inferences: dict[str, Any] = flax.struct.field(
        pytree_node=False, default_factory=dict
    )

    @classmethod
    def from_model_output(
        cls,
        inputs: Any,
        model_output: Any,
        features: Mapping[str, Any],
        target_field_name: str = "targets",
        mask: Any = None,
        indices_2d: Any = None,
    ) -> seqio.metrics.Metric:
        """Judge the token sequences of one task.

        Args:
          inputs: the task's examples.
          model_output: token ids `[examples, length]`, or `[examples, samples, length]`, of which
            the first sample counts.
          features: the task's features.
          target_field_name: the feature that was predicted.
          mask: not used: every example counts.
          indices_2d: not used.
        """
        vocabulary = features[target_field_name].vocabulary
        targets, texts = [], []
        for example, tokens in zip(inputs, model_output, strict=True):
            tokens = np.asarray(tokens)
            tokens = tokens[0] if tokens.ndim == 2 else tokens
            targets.append({**gold(example), "finished": is_finished(tokens)})
            texts.append(vocabulary.decode(tokens.tolist()))
        return cls(
            shares=outcome_shares(targets, texts, cls.style),
            targets_and_inferences={"targets": targets, "output": texts, "prediction": texts},
        )

    def compute(self) -> dict[str, float]:
        """Return accuracy and every outcome's share, in percent."""
        return self.shares


def outcomes_of(style: str) -> seqio.metrics.Metric:
    """Return `Outcomes` for texts of a style; SeqIO asks the class, so each style has its own."""
    return type(f"Outcomes_{style}", (Outcomes,), {"style": style})()


def gold(example: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `judge` needs from a task's example."""
    choices = [choice.decode("utf-8") for choice in example["choices"]]
    return {
        "id": example["id"].decode("utf-8"),
        "answer": example["answer"].decode("utf-8"),
        "kind": example["kind"].decode("utf-8"),
        "choices": choices or None,
    }


def is_finished(tokens: np.ndarray) -> bool:
    """Say whether an output ended by itself: `[length]` with an end of sequence, or padded."""
    return len(tokens) == 0 or EOS_ID in tokens or bool(tokens[-1] == PAD_ID)
