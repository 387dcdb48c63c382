"""A small vocabulary with the gaps of T5's, for tests and trials where T5's is not at hand."""

from __future__ import annotations

import os
import pathlib

from t5distill.formats.train_vocabulary import train_sentencepiece

SENTENCES = (
    "Q: Natalia sold 48 clips in April and half as many in May. How many clips did she sell?\n"
    "A: Let's think step by step.",
    "She sold 48/2 = <<48/2=24>>24 clips in May.\nIn total she sold 48+24 = <<48+24=72>>72 clips.",
    "Tom has 3 boxes of 12 pencils and gives 7 pencils to his sister. The answer is 29.",
    "def solution():\n    boxes = 3\n    pencils = boxes * 12 - 7\n    return pencils\n",
    "A robe takes 2 bolts of blue fiber and half that much white fiber, which costs $1.50.",
    "Options: (A) yes (B) no (C) 25% of the price\nA: So the answer is (C).",
    "The train leaves at 9:30 and needs 2 hours, so it arrives at 11:30 in the morning.",
)


def standin_vocabulary(path: str | os.PathLike[str], *, vocab_size: int = 400) -> pathlib.Path:
    """Train the stand-in and write it to `path`; takes a fraction of a second."""
    return train_sentencepiece(SENTENCES * 4, path, vocab_size=vocab_size, split_digits=False)
