"""A validation split is read once, where memory holds it."""

import numpy as np
import pytest

from t5distill.feed import Kept


class Reader:
    """Counts how often it is read."""

    def __init__(self, batches):
        self.batches = batches
        self.times = 0

    def __call__(self):
        self.times += 1
        return iter(self.batches)


@pytest.fixture
def reader():
    return Reader([{"a": np.full((2, 3), i, np.int32)} for i in range(4)])


def firsts(batches):
    return [int(batch["a"][0, 0]) for batch in batches]


def test_later_passes_are_the_first_one(reader):
    kept = Kept(reader)
    assert [firsts(kept()) for _ in range(3)] == [[0, 1, 2, 3]] * 3 and reader.times == 1


def test_a_pass_that_was_broken_off_is_not_kept(reader):
    kept = Kept(reader)
    next(iter(kept()))
    assert firsts(kept()) == [0, 1, 2, 3] == firsts(kept()) and reader.times == 2


def test_what_memory_does_not_hold_is_read_again(reader):
    kept = Kept(reader, most=3 * 24)
    assert [firsts(kept()) for _ in range(2)] == [[0, 1, 2, 3]] * 2 and reader.times == 2
