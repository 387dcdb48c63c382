"""From examples to what the network reads, where SeqIO's own converter does not suffice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import seqio
import tensorflow as tf

# The feature of a task whose examples have loss weights of their own.
TARGET_WEIGHTS = "target_weights"


class WeightedConverter(seqio.EncDecFeatureConverter):
    """SeqIO's encoder-decoder converter, with the loss weights that `target_weights` says.

    They stay integers, in units of 1 / `formats.example.WHOLE_WEIGHT`: packing would turn a float
    into 0 or 1.
    """

    TASK_FEATURES: ClassVar = {
        **seqio.EncDecFeatureConverter.TASK_FEATURES,
        TARGET_WEIGHTS: seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
    }

    def _convert_example(self, features: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        converted = super()._convert_example(features)
        return {**converted, "decoder_loss_weights": features[TARGET_WEIGHTS]}


def converter_of(task: str) -> type[seqio.EncDecFeatureConverter]:
    """Return the converter for a registered task or mixture."""
    return WeightedConverter if _is_weighted(task) else seqio.EncDecFeatureConverter


def lengths_of(task: str, lengths: Mapping[str, int]) -> dict[str, int]:
    """Return the lengths of all features of a registered task or mixture.

    Args:
      task: its registered name.
      lengths: of `inputs` and `targets`.
    """
    own = {TARGET_WEIGHTS: lengths["targets"]} if _is_weighted(task) else {}
    return {**lengths, **own}


def _is_weighted(task: str) -> bool:
    return TARGET_WEIGHTS in seqio.get_mixture_or_task(task).output_features
