"""One training example as text."""

from __future__ import annotations

from typing import NamedTuple

# Loss weights are whole numbers, because SeqIO's packing turns floating-point features into
# integers: this one is a weight of 1.
WHOLE_WEIGHT = 1000


class Example(NamedTuple):
    """What a student reads, what it learns to write, and how much each token of that counts."""

    inputs: str
    targets: str
    weight: int = WHOLE_WEIGHT
