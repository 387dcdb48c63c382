"""A teacher's likeliest tokens as features of a task, beside the targets that they are for."""

from __future__ import annotations

import json

import numpy as np
import tensorflow as tf

from t5distill import formats, records
from t5distill.curate import alignment
from t5distill.curate.alignment import captured
from t5distill.data.converters import SOFT_FEATURES
from t5distill.errors import UserError
from t5distill.formats import quantised
from t5distill.formats import vocabulary as vocabularies
from t5distill.records import Chain


def soften(dataset: tf.data.Dataset, *, style: str, vocab: str) -> tf.data.Dataset:
    """Add the features of soft labels to tokenised examples; `chain` is what they are made from.

    Args:
      dataset: examples with `targets` (no end of sequence yet), `targets_pretokenized` and `chain`,
        a Chain in JSON, or empty where there is none.
      style: one of `formats.STYLES` with soft labels.
      vocab: the vocabulary of the targets.

    Returns:
      the examples with `soft_ids` and `soft_values`, int32 `[k * (length + 1)]`, as
      `formats.quantised` says; the end of sequence has entries of a white-box teacher only.
    """

    def entries(chain: bytes, text: bytes, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _entries(chain, text.decode("utf-8"), tokens, style=style, vocab=vocab)

    def one(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        given = [example["chain"], example["targets_pretokenized"], example["targets"]]
        found = tf.numpy_function(entries, given, [tf.int32, tf.int32])
        for feature in found:
            feature.set_shape([None])
        rest = {k: v for k, v in example.items() if k != "chain"}
        return {**rest, **dict(zip(SOFT_FEATURES, found, strict=True))}

    return dataset.map(one, num_parallel_calls=tf.data.AUTOTUNE)


def _entries(
    chain_json: bytes, text: str, tokens: np.ndarray, *, style: str, vocab: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two features of one example, its end of sequence included.

    Raises:
      UserError: a teacher's chain has no log-probabilities, or they are not those of its text.
    """
    found = formats.style(style)
    assert found.soft is not None
    method, k = found.soft
    whole = [*tokens.tolist(), vocabularies.EOS_ID]
    ids = np.zeros((len(whole), k), np.int32)
    probabilities = np.zeros((len(whole), k))
    chain = records.from_object(Chain, json.loads(chain_json)) if chain_json else None
    if chain is not None and found.needs_chain and not _is_gold(chain):
        try:
            if captured.is_captured(chain):
                # A white-box teacher says when it would have ended, too.
                soft = captured.rows(chain, whole, k=k)
            else:
                soft = alignment.align(text, chain, vocabularies.load(vocab), method=method, k=k)
                if len(soft.ids) != len(tokens):
                    raise ValueError(f"{len(soft.ids)} tokens, {len(tokens)} in the task")
        except ValueError as e:
            raise UserError(
                f"chain of {chain.problem_id}, sample {chain.sample}: {e}; curate the set again "
                f"with --soft-labels {k}"
            ) from e
        # Rounded, what a teacher lists may sum to a little more than 1.
        mass = np.maximum(soft.probabilities.sum(axis=1, keepdims=True), 1.0)
        count = len(soft.ids)
        ids[:count], probabilities[:count] = soft.ids, soft.probabilities / mass
    return quantised.encoded(ids, probabilities)


def _is_gold(chain: Chain) -> bool:
    """Say whether a chain is a benchmark's own solution, as evaluation reads it: it has none."""
    return chain.teacher == "gold" and not {"tokens", captured.KEY} & chain.meta.keys()
