"""Soft labels as whole numbers: SeqIO's packing takes no floats, and no zero for an entry.

Of each target token a task has k entries, a token's id and its probability, as two integer features
of length k x targets. Packing takes everything from the first 0 on for padding, so that no entry,
real or not, may be 0:

    id           1 + the token's id; 1 where there is no entry
    probability  2 + ceil(-log p x 4096); 1 where there is no entry

Rounded up, the probabilities of a token still add up to no more than 1; each is low by less than a
share of 2.5e-4. Free of TensorFlow and of JAX: both work with these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

UNIT = 4096
_NONE = 1
_CERTAIN = 2


def encoded(ids: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two features of soft labels.

    Args:
      ids: integers `[length, k]`.
      probabilities: floats `[length, k]`, 0 where there is no entry.

    Returns:
      int32 `[length * k]` each.
    """
    given = probabilities > 0
    steps = np.ceil(-np.log(np.where(given, probabilities, 1.0)) * UNIT - 1e-6)
    values = np.where(given, _CERTAIN + np.maximum(steps, 0.0), _NONE)
    places = np.where(given, ids, 0) + 1
    return places.reshape(-1).astype(np.int32), values.reshape(-1).astype(np.int32)


def ids(feature: Any) -> Any:
    """Return the ids of a feature of numpy or JAX; 0 where there is no entry and for padding."""
    return (feature - 1) * (feature > 0)


def probabilities(feature: Any, exp: Callable[[Any], Any] = np.exp) -> Any:
    """Return the probabilities of a feature; 0 where there is no entry and for padding.

    Args:
      feature: integers of numpy, or of JAX.
      exp: of the same library.
    """
    return (feature >= _CERTAIN) * exp((_CERTAIN - feature) / UNIT)
