"""A white-box teacher's likeliest tokens, where student and teacher share a vocabulary.

`t5distill capture` keeps them beside the chain as `meta["soft"]`: `tokens`, the target's ids with
the end of sequence, and for each of these `ids` and `logprobs`, k of either. There is nothing to
align.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from t5distill.curate.alignment import steps
from t5distill.curate.alignment.targets import CASES, SoftTargets
from t5distill.records import Chain

KEY = "soft"
_PARTS = ("tokens", "ids", "logprobs")
_MOST_TOKENS = 1 << 24


def is_captured(chain: Chain) -> bool:
    """Say whether a chain carries tokens of its student's own."""
    return KEY in chain.meta


def rows(chain: Chain, tokens: Sequence[int], *, k: int) -> SoftTargets:
    """Return the soft targets of a target's tokens; the last may be the end of sequence.

    Args:
      chain: with `meta["soft"]`.
      tokens: ids, with or without the end of sequence.
      k: the most entries of a row.

    Raises:
      ValueError: they were captured for other tokens.
    """
    check(chain, 1)
    kept = chain.meta[KEY]
    of = list(kept["tokens"])
    if list(tokens) not in (of, of[:-1]):
        at = next((i for i, (a, b) in enumerate(zip(tokens, of, strict=False)) if a != b), len(of))
        raise ValueError(
            f"captured for other tokens: number {at} differs; the student's vocabulary or the "
            "chain is another one, capture again"
        )
    ids = np.asarray(kept["ids"], np.int32)[: len(tokens), :k]
    probabilities = np.exp(np.asarray(kept["logprobs"], np.float64))[: len(tokens), :k]
    # Rounded, they may sum to a little more.
    probabilities /= np.maximum(probabilities.sum(axis=1, keepdims=True), 1.0)
    missing = k - ids.shape[1]
    if missing > 0:
        ids = np.pad(ids, ((0, 0), (0, missing)))
        probabilities = np.pad(probabilities, ((0, 0), (0, missing)))
    cases = np.full(len(tokens), CASES.index("one_to_one"), np.uint8)
    return SoftTargets(ids, probabilities, cases)


def check(chain: Chain, k: int) -> None:
    """Check `k` tokens or more for each token of the target.

    Raises:
      ValueError: the message says which token is at fault, and why.
    """
    kept = chain.meta[KEY]
    parts: list[Any] = [kept.get(name) if isinstance(kept, dict) else None for name in _PARTS]
    if not all(isinstance(part, list) for part in parts):
        raise ValueError("meta.soft is of another form; wanted what `t5distill capture` writes")
    tokens, ids, logprobs = parts
    if not tokens or len(ids) != len(tokens) or len(logprobs) != len(tokens):
        raise ValueError(
            f"{len(ids)} rows of ids and {len(logprobs)} of log-probabilities for {len(tokens)} "
            "tokens"
        )
    if not all(map(_is_id, tokens)):
        raise ValueError("meta.soft.tokens are no token ids")
    for i, (row, values) in enumerate(zip(ids, logprobs, strict=True)):
        try:
            _check_row(row, values, k)
        except ValueError as e:
            raise ValueError(f"token {i}: {e}") from e


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS


def _check_row(ids: Any, values: Any, k: int) -> None:
    """Raise ValueError with what is wrong with one token's entries."""
    if not isinstance(ids, list) or not isinstance(values, list) or len(ids) != len(values):
        raise ValueError(
            f"ids and log-probabilities {ids!r:.60} and {values!r:.60}, wanted as many"
        )
    if len(ids) < k:
        raise ValueError(f"{len(ids)} entries, wanted {k}")
    if not all(map(_is_id, ids)) or len(set(ids)) != len(ids):
        raise ValueError(f"ids {ids}, wanted different tokens")
    for value in values:
        if not steps.is_logprob(value):
            raise ValueError(f"log-probability {value!r}, wanted a number from -inf to 0")
    if values != sorted(values, reverse=True):
        raise ValueError("the likeliest is not first")
    steps.check_mass(sum(map(math.exp, values)))
