"""How many examples of each task of a mixture a run has seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import seqio
import tensorflow as tf

Batch = dict[str, np.ndarray]


class Counted:
    """Batches, with the number of examples in those that were taken.

    Attributes:
      batches: how many were taken.
      examples: in them; of packed rows every segment is one.
    """

    def __init__(self, batches: Iterable[Batch]):
        self._source = batches
        self.batches = 0
        self.examples = 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._source:
            self.batches += 1
            self.examples += _examples(batch)
            yield batch


def _examples(batch: Batch) -> int:
    segments = batch.get("decoder_segment_ids")
    if segments is not None:
        return int(segments.max(axis=1).sum())
    return int((batch["decoder_target_tokens"] != 0).any(axis=1).sum())


def composition(task: str, count: int, *, seed: int) -> dict[str, int]:
    """Return how many of the first `count` examples come from each task.

    SeqIO draws which task is next from the rates and the seed alone, so that the draws can be made
    again without the data.

    Args:
      task: a registered task or mixture, full name.
      count: how many examples were read, in order.
      seed: that the mixture was read with.
    """
    found = seqio.get_mixture_or_task(task)
    if not isinstance(found, seqio.Mixture):
        return {task: count}
    rates = [found.get_rate(each) for each in found.tasks]
    constants = [tf.data.Dataset.from_tensors(i).repeat() for i in range(len(rates))]
    draws = tf.data.Dataset.sample_from_datasets(
        constants, weights=rates, seed=seed, stop_on_empty_dataset=True
    )
    totals = np.zeros(len(rates), np.int64)
    for some in draws.take(count).batch(65_536).as_numpy_iterator():
        totals += np.bincount(some, minlength=len(rates))
    return {each.name: int(n) for each, n in zip(found.tasks, totals, strict=True)}
