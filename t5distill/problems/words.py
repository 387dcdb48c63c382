"""Word lists of the generators: people's names and plural nouns (`words.tsv`)."""

from __future__ import annotations

import functools
import importlib.resources


@functools.cache
def load(kind: str) -> tuple[str, ...]:
    """Return the words of a kind: the names `first`, `last`, `short`, or a noun of templates."""
    text = (importlib.resources.files("t5distill.problems") / "words.tsv").read_text("utf-8")
    rows = dict(line.split("\t") for line in text.splitlines() if "\t" in line)
    return tuple(rows[kind].split())
