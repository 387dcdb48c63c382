"""From pairs of records to the text features of a task."""

from __future__ import annotations

import functools
import json

import numpy as np
import tensorflow as tf

from t5distill import formats, records
from t5distill.records import Chain, Problem

# Tokenised sets below this size stay in memory between epochs: about 4 KB an example.
_MOST_IN_MEMORY = 100_000

_FIELDS = ("inputs", "targets", "id", "answer", "kind")


def render(dataset: tf.data.Dataset, *, style: str) -> tf.data.Dataset:
    """Turn `problem` and `chain` records into the texts of a style.

    Args:
      dataset: pairs of JSON texts, `problem` and `chain` (empty where there is none).
      style: one of `formats.STYLES`.

    Returns:
      examples of `inputs`, `targets`, `id`, `answer`, `kind`, `choices` (string vector, empty where
      the problem has none) and `id_pretokenized`, which T5X's inference JSONL keeps.
    """
    texts = functools.partial(_texts, style=style)

    def one(pair: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        *fields, choices = tf.numpy_function(
            texts, [pair["problem"], pair["chain"]], [tf.string] * (len(_FIELDS) + 1)
        )
        example = dict(zip(_FIELDS, fields, strict=True))
        for tensor in example.values():
            tensor.set_shape([])
        choices.set_shape([None])
        return {**example, "choices": choices, "id_pretokenized": example["id"]}

    return dataset.map(one, num_parallel_calls=tf.data.AUTOTUNE)


def _texts(problem_json: bytes, chain_json: bytes, *, style: str) -> tuple:
    """Return `_FIELDS` and the choices of one pair."""
    problem = records.from_object(Problem, json.loads(problem_json))
    chain = records.from_object(Chain, json.loads(chain_json)) if chain_json else None
    inputs, targets, _ = formats.style(style)
    fields = (inputs(problem), targets(problem, chain), problem.id, problem.answer, problem.kind)
    encoded = [np.array(field.encode("utf-8"), dtype=object) for field in fields]
    choices = [choice.encode("utf-8") for choice in problem.choices or ()]
    return *encoded, np.array(choices, dtype=object)


def keep_in_memory(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Tokenise a set of ordinary size once, not in every epoch."""
    if 0 <= int(dataset.cardinality()) <= _MOST_IN_MEMORY:
        return dataset.cache()
    return dataset
