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
