"""From pairs of records to the text features of a task."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from t5distill import formats, records
from t5distill.formats import Drawn, Shot
from t5distill.formats.fresh import own_rng
from t5distill.records import Chain, Problem

# Tokenised sets below this size stay in memory between epochs: about 4 KB an example.
_MOST_IN_MEMORY = 100_000

# Of the examples of a pair, and of their problem.
_COLUMNS = ("inputs", "targets", "weight")
_OF_PROBLEM = ("id", "answer", "kind")


def render(dataset: tf.data.Dataset, *, style: str) -> tf.data.Dataset:
    """Turn `problem` and `chain` records into the texts of a style.

    Args:
      dataset: pairs of JSON texts, `problem` and `chain` (empty where there is none).
      style: one of `formats.STYLES`.

    Returns:
      examples of `inputs`, `targets`, `weight` (an integer, `formats.example.WHOLE_WEIGHT` is 1),
      `id`, `answer`, `kind`, `choices` (string vector, empty where the problem has none) and
      `id_pretokenized`, which T5X's inference JSONL keeps. A chain gives one example or several.
    """
    texts = functools.partial(_texts, style=style)

    def all_of(pair: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        types = [tf.string, tf.string, tf.int32, *[tf.string] * len(_OF_PROBLEM), tf.string]
        inputs, targets, weights, *fields, choices = tf.numpy_function(
            texts, [pair["problem"], pair["chain"]], types
        )
        examples = dict(zip(_COLUMNS, (inputs, targets, weights), strict=True))
        for tensor in examples.values():
            tensor.set_shape([None])
        # `soft_labels.soften` reads the chain's log-probabilities.
        chain = {"chain": pair["chain"]} if formats.style(style).soft else {}
        return {**examples, **_known(fields, choices), **chain}

    def each(examples: dict[str, tf.Tensor]) -> tf.data.Dataset:
        rest = {k: v for k, v in examples.items() if k not in _COLUMNS}
        columns: Any = {k: examples[k] for k in _COLUMNS}
        return tf.data.Dataset.from_tensor_slices(columns).map(lambda one: {**one, **rest})

    whole = dataset.map(all_of, num_parallel_calls=tf.data.AUTOTUNE)
    if formats.style(style).several is None:
        # One example a pair: no data set of its own for each of them.
        return whole.map(lambda e: {**e, **{k: e[k][0] for k in _COLUMNS}})
    flat = whole.flat_map(each)
    if 0 <= int(whole.cardinality()) <= _MOST_IN_MEMORY:
        # TensorFlow cannot know how many there are, and `keep_in_memory` asks.
        counts = whole.map(lambda examples: tf.size(examples["weight"], tf.int64))
        count = counts.reduce(np.int64(0), lambda total, n: total + n)
        flat = flat.apply(tf.data.experimental.assert_cardinality(count))
    return flat


def identify(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Add what is known of the problem to pairs whose texts are drawn later, see `draw`."""

    def of_problem(problem_json: bytes) -> tuple:
        return _of_problem(records.from_object(Problem, json.loads(problem_json)))

    def one(pair: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        types = [tf.string] * (len(_OF_PROBLEM) + 1)
        *fields, choices = tf.numpy_function(of_problem, [pair["problem"]], types)
        return {**pair, **_known(fields, choices)}

    return dataset.map(one, num_parallel_calls=tf.data.AUTOTUNE)


def draw(
    dataset: tf.data.Dataset, *, style: str, pool: Callable[[], Sequence[Shot]]
) -> tf.data.Dataset:
    """Draw the texts of a style anew for every example of every epoch.

    What is drawn for a training problem follows from the run's seed; an evaluation problem is
    always asked alike.

    Args:
      dataset: as `identify` returns; `chain` is one chain, or the list of a problem's chains.
      style: one of `formats.STYLES` that draws.
      pool: gives what demonstrations are drawn from; not called by styles that show none.
    """
    found = formats.style(style)
    make = found.drawn
    assert make is not None
    shown = pool() if found.shows else ()

    def text(problem_json: bytes, chain_json: bytes, seed: np.ndarray) -> tuple:
        problem = records.from_object(Problem, json.loads(problem_json))
        listed = json.loads(chain_json) if chain_json else []
        listed = listed if isinstance(listed, list) else [listed]
        chains = [records.from_object(Chain, chain) for chain in listed]
        training = problem.split == "train"
        rng = random.Random(f"{seed.tolist()}") if training else own_rng(problem)
        example = make(Drawn(problem, chains, rng, shown, evaluation=not training))
        inputs, targets = _strings((example.inputs, example.targets))
        return inputs, targets, np.int32(example.weight)

    def one(pair: dict[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        drawn = [pair["problem"], pair["chain"], seed]
        inputs, targets, weight = tf.numpy_function(text, drawn, [tf.string, tf.string, tf.int32])
        for tensor in (inputs, targets, weight):
            tensor.set_shape([])
        gone = ("problem",) if found.soft else ("problem", "chain")
        rest = {k: v for k, v in pair.items() if k not in gone}
        return {**rest, "inputs": inputs, "targets": targets, "weight": weight}

    drawing: Any = seqio.map_over_dataset(one, num_seeds=1)
    return drawing(dataset)


def keep_end(
    dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None = None
) -> tf.data.Dataset:
    """Cut inputs that are too long at their beginning: the question stands behind what is shown."""
    if not sequence_length:
        return dataset
    room = sequence_length["inputs"] - 1  # for the end of sequence
    return dataset.map(lambda e: {**e, "inputs": e["inputs"][-room:]})


def _texts(problem_json: bytes, chain_json: bytes, *, style: str) -> tuple:
    """Return the examples of one pair as columns, and what is known of their problem."""
    problem = records.from_object(Problem, json.loads(problem_json))
    chain = records.from_object(Chain, json.loads(chain_json)) if chain_json else None
    examples = formats.style(style).examples(problem, chain)
    columns = [_strings(e.inputs for e in examples), _strings(e.targets for e in examples)]
    weights = np.array([e.weight for e in examples], np.int32)
    return *columns, weights, *_of_problem(problem)


def _of_problem(problem: Problem) -> tuple:
    """Return `_OF_PROBLEM` and the choices."""
    fields = _strings(getattr(problem, name) for name in _OF_PROBLEM)
    return *(np.array(field, dtype=object) for field in fields), _strings(problem.choices or ())


def _known(fields: Sequence[tf.Tensor], choices: tf.Tensor) -> dict[str, tf.Tensor]:
    """Name what `_of_problem` returned, with its shapes, and the id once more for T5X."""
    for tensor in fields:
        tensor.set_shape([])
    choices.set_shape([None])
    known = dict(zip(_OF_PROBLEM, fields, strict=True))
    return {**known, "choices": choices, "id_pretokenized": known["id"]}


def _strings(texts) -> np.ndarray:
    return np.array([text.encode("utf-8") for text in texts], dtype=object)


def weigh(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Give every target token its example's weight, as the feature `target_weights`.

    It is an integer feature as long as the targets, so that packing carries it along.
    """

    def one(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        weights = tf.fill(tf.shape(example["targets"]), example["weight"])
        return {**example, "target_weights": weights}

    return dataset.map(one, num_parallel_calls=tf.data.AUTOTUNE)


def keep_in_memory(dataset: tf.data.Dataset, *, soft: int = 0) -> tf.data.Dataset:
    """Tokenise a set of ordinary size once, not in every epoch.

    Args:
      dataset: tokenised examples.
      soft: entries of soft labels at each target token; five make an example twice as large.
    """
    if 0 <= int(dataset.cardinality()) <= _MOST_IN_MEMORY * 5 // (5 + soft):
        return dataset.cache()
    return dataset
