"""A white-box teacher's likeliest tokens, where student and teacher share a vocabulary.

`t5distill capture` keeps them beside the chain as `meta["soft"]`: `tokens`, the target's ids with
the end of sequence, and for each of these `ids` and `logprobs`, k of either. There is nothing to
align.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from t5distill.curate.alignment.targets import CASES, SoftTargets
from t5distill.records import Chain

KEY = "soft"
_ROUNDING = 1e-3


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
    missing = k - ids.shape[1]
    if missing > 0:
        ids = np.pad(ids, ((0, 0), (0, missing)))
        probabilities = np.pad(probabilities, ((0, 0), (0, missing)))
    cases = np.full(len(tokens), CASES.index("one_to_one"), np.uint8)
    return SoftTargets(ids, probabilities, cases)


def check(chain: Chain, k: int) -> None:
    """Check `k` tokens for each token of the target.

    Raises:
      ValueError: the message says which token is at fault, and why.
    """
    kept = chain.meta[KEY]
    if not isinstance(kept, dict) or not {"tokens", "ids", "logprobs"} <= kept.keys():
        raise ValueError("meta.soft is of another form; wanted what `t5distill capture` writes")
    count = len(kept["tokens"])
    if not count or len(kept["ids"]) != count or len(kept["logprobs"]) != count:
        raise ValueError(
            f"{len(kept['ids'])} rows of ids and {len(kept['logprobs'])} of log-probabilities for "
            f"{count} tokens"
        )
    for i, (ids, values) in enumerate(zip(kept["ids"], kept["logprobs"], strict=True)):
        if len(ids) != k or len(values) != k:
            raise ValueError(f"token {i}: {len(ids)} and {len(values)} entries, wanted {k}")
        if not all(isinstance(x, int) and x >= 0 for x in ids) or len(set(ids)) != k:
            raise ValueError(f"token {i}: ids {ids}, wanted {k} different tokens")
        if not all(isinstance(x, int | float) and -math.inf < x <= 1e-6 for x in values):
            raise ValueError(
                f"token {i}: log-probabilities {values}, wanted numbers from -inf to 0"
            )
        mass = sum(math.exp(x) for x in values)
        if mass > 1 + _ROUNDING:
            raise ValueError(f"token {i}: probabilities sum to {mass:.4f}, wanted at most 1")
