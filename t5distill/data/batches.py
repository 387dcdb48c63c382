"""From a task's name to the numpy batches that training eats, through SeqIO's own converter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from t5distill.data.converters import WeightedConverter, converter_of, lengths_of
from t5distill.errors import UserError
from t5distill.formats.example import WHOLE_WEIGHT

Batch = dict[str, np.ndarray]


def stream_batches(
    task: str,
    *,
    lengths: Mapping[str, int],
    batch_size: int,
    split: str = "train",
    pack: bool = True,
    shuffle: bool = True,
    repeat: bool = True,
    seed: int = 0,
    start_step: int = 0,
    shard_index: int = 0,
    num_shards: int = 1,
    use_cached: bool = False,
) -> Iterator[Batch]:
    """Yield batches of model features, in an order that `seed` decides.

    With `repeat` the stream has no end; without, it is one pass, and rows of padding (loss weight
    0) fill up the last batch, so that nothing is left out and no shape changes.

    Args:
      task: a registered task or mixture, full name.
      lengths: TASK_FEATURE_LENGTHS: tokens of `inputs` and `targets` in a row.
      batch_size: rows in a batch of this shard: with several processes, the global batch size
        divided by `num_shards`.
      split: the split to read.
      pack: put several examples into a row, told apart by segment ids.
      shuffle: shuffle files and examples.
      repeat: start again at the end of the data.
      seed: decides shuffling and mixing; all shards must use the same.
      start_step: how many batches to leave out at the start, to go on where a run stopped.
      shard_index: which share of the examples this process reads.
      num_shards: the number of processes that read.
      use_cached: read SeqIO's offline cache.

    Yields:
      int32 arrays `[batch_size, length]` (loss weights are float32 where a task's examples weigh
      unequally): encoder_input_tokens, decoder_input_tokens,
      decoder_target_tokens, decoder_loss_weights and, if packed, encoder_segment_ids,
      encoder_positions, decoder_segment_ids and decoder_positions; of soft labels
      decoder_soft_ids and decoder_soft_values, `[batch_size, length * k]`.

    Raises:
      UserError: the task's data is missing.
    """
    dataset = seqio.get_dataset(
        task,
        task_feature_lengths=lengths_of(task, lengths),
        feature_converter=converter_of(task)(pack=pack),
        dataset_split=split,
        use_cached=use_cached,
        shuffle=shuffle,
        num_epochs=None if repeat else 1,
        shard_info=seqio.ShardInfo(index=shard_index, num_shards=num_shards),
        verbose=False,
        seed=seed,
    )
    dataset = dataset.batch(batch_size, drop_remainder=repeat).skip(start_step)
    batches = _filled(dataset, batch_size)
    return map(_with_shares, batches) if converter_of(task) is WeightedConverter else batches


def read_examples(
    task: str, *, lengths: Mapping[str, int] | None = None, split: str = "test", seed: int = 42
) -> Iterator[dict[str, Any]]:
    """Yield a task's examples in order, one by one: what inference reads.

    Args:
      task: a registered task, full name.
      lengths: longest `inputs` and `targets`, in tokens; None trims nothing.
      split: the split to read.
      seed: decides what is drawn for evaluation (demonstrations).

    Yields:
      `inputs` and `targets` (int32, unpadded), and as texts `inputs_pretokenized`,
      `targets_pretokenized`, `id`, `answer`, `kind`; `choices` is a list of texts or None.
    """
    dataset = seqio.get_mixture_or_task(task).get_dataset(
        sequence_length=None if lengths is None else dict(lengths),
        split=split,
        shuffle=False,
        seed=seed,
        num_epochs=1,
    )
    texts = ("inputs_pretokenized", "targets_pretokenized", "id", "answer", "kind")
    for example in dataset.as_numpy_iterator():
        decoded = {name: example[name].decode("utf-8") for name in texts}
        choices = [choice.decode("utf-8") for choice in example["choices"]]
        tokens = {name: example[name] for name in ("inputs", "targets")}
        yield {**tokens, **decoded, "choices": choices or None}


def _with_shares(batch: Batch) -> Batch:
    """Return a batch whose loss weights are shares of 1, float32, no longer whole numbers."""
    weights = batch["decoder_loss_weights"] / np.float32(WHOLE_WEIGHT)
    return {**batch, "decoder_loss_weights": weights.astype(np.float32)}


def _told(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield what is given; the user's mistake that TensorFlow ran into becomes one again."""
    failure = tf.errors.OpError  # at the end of the process the module is gone
    try:
        yield from batches
    except failure as e:
        said = re.search(r"UserError: (.+)", str(e.message))
        if said is None:
            raise
        raise UserError(said[1]) from e


def _filled(dataset: Any, batch_size: int) -> Iterator[Batch]:
    """Yield the batches of a tf.data.Dataset as numpy, the last one filled up with padding."""
    options = tf.data.Options()
    # A run must be repeatable to the batch, so that it can be resumed.
    options.deterministic = True
    for batch in _told(dataset.prefetch(2).with_options(options).as_numpy_iterator()):
        short = batch_size - len(next(iter(batch.values())))
        if short:
            batch = {k: np.pad(v, ((0, short), (0, 0))) for k, v in batch.items()}
        yield batch
