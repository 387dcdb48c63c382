"""Soft labels: a teacher's probabilities for its own tokens, brought to a student's tokens."""

from __future__ import annotations

from collections.abc import Sequence

from t5distill.curate.alignment import captured, dtw, offsets, steps
from t5distill.curate.alignment.continuations import Vocabulary
from t5distill.curate.alignment.targets import CASES, SoftTargets
from t5distill.errors import suggest
from t5distill.records import Chain

__all__ = ("CASES", "METHODS", "SoftTargets", "align", "align_many", "check")

METHODS = ("offsets", "dtw")

_AT_ONCE = 1024


def check(chain: Chain, k: int) -> None:
    """Check that a chain carries `k` alternatives with their probabilities for each token.

    Raises:
      ValueError: it does not; the message says which token is at fault, and why.
    """
    (captured if captured.is_captured(chain) else steps).check(chain, k)


def align(
    target: str, chain: Chain, vocabulary: Vocabulary, *, method: str = "offsets", k: int = 5
) -> SoftTargets:
    """Return soft targets for the tokens of `vocabulary.encode(target)`.

    The longest part of the target that stands in the chain is aligned; the rest has no soft
    targets.

    Args:
      target: what the student writes: the chain, perhaps with a sentence behind it.
      chain: its text, and in `meta["tokens"]` the teacher's tokens; or in `meta["soft"]` the
        student's own, of a white-box teacher, which need no alignment.
      vocabulary: the student's.
      method: `offsets` or `dtw`.
      k: the most entries of a row.

    Raises:
      ValueError: the tokens are not those of the chain's text, or the student's vocabulary cannot
        carry the target.
    """
    if captured.is_captured(chain):
        return captured.rows(chain, vocabulary.encode(target), k=k)
    return align_many([target], [chain], vocabulary, method=method, k=k)[0]


def align_many(
    targets: Sequence[str],
    chains: Sequence[Chain],
    vocabulary: Vocabulary,
    *,
    method: str = "offsets",
    k: int = 5,
) -> list[SoftTargets]:
    """Return soft targets for many targets at once, which is faster; see `align`."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; {suggest(method, METHODS)}")
    if k < 1:
        raise ValueError(f"k is {k}, wanted at least 1")
    if len(targets) != len(chains):
        raise ValueError(f"{len(targets)} targets and {len(chains)} chains, wanted as many")
    way = offsets.align_many if method == "offsets" else dtw.align_many
    return [
        found
        for begin in range(0, len(targets), _AT_ONCE)
        for found in way(
            targets[begin : begin + _AT_ONCE],
            chains[begin : begin + _AT_ONCE],
            vocabulary,
            k=k,
        )
    ]
