"""From examples to what the network reads, where SeqIO's own converter does not suffice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

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


# The features of a task with soft labels, as `formats.quantised` makes them, and of the model.
SOFT_FEATURES = {"soft_ids": "decoder_soft_ids", "soft_values": "decoder_soft_values"}


@dataclasses.dataclass(frozen=True)
class SoftFeature(seqio.Feature):
    """A feature of `k` integers for each target token."""

    k: int = 0


class SoftConverter(seqio.EncDecFeatureConverter):
    """SeqIO's encoder-decoder converter, with the soft labels of the targets.

    They are `k` times as long as the targets, before and after packing, so that both are cut and
    packed at the same tokens.
    """

    TASK_FEATURES: ClassVar = {
        **seqio.EncDecFeatureConverter.TASK_FEATURES,
        **{name: seqio.FeatureConverter.FeatureSpec(dtype=tf.int32) for name in SOFT_FEATURES},
    }
    MODEL_FEATURES: ClassVar = {
        **seqio.EncDecFeatureConverter.MODEL_FEATURES,
        **{
            name: seqio.FeatureConverter.FeatureSpec(dtype=tf.int32)
            for name in SOFT_FEATURES.values()
        },
    }

    def _convert_example(self, features: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        converted = super()._convert_example(features)
        return {**converted, **{new: features[old] for old, new in SOFT_FEATURES.items()}}

    def get_model_feature_lengths(
        self, task_feature_lengths: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Return the lengths of the model's features for those of the task's."""
        own = {new: task_feature_lengths[old] for old, new in SOFT_FEATURES.items()}
        return {**super().get_model_feature_lengths(task_feature_lengths), **own}


def converter_of(task: str) -> type[seqio.EncDecFeatureConverter]:
    """Return the converter for a registered task or mixture."""
    features = _features(task)
    if "soft_ids" in features:
        return SoftConverter
    return WeightedConverter if TARGET_WEIGHTS in features else seqio.EncDecFeatureConverter


def lengths_of(task: str, lengths: Mapping[str, int]) -> dict[str, int]:
    """Return the lengths of all features of a registered task or mixture.

    Args:
      task: its registered name.
      lengths: of `inputs` and `targets`.
    """
    targets, features = lengths["targets"], _features(task)
    own = {TARGET_WEIGHTS: targets} if TARGET_WEIGHTS in features else {}
    soft = {k: f.k * targets for k, f in features.items() if isinstance(f, SoftFeature)}
    return {**lengths, **own, **soft}


def _features(task: str) -> Mapping[str, Any]:
    return seqio.get_mixture_or_task(task).output_features
