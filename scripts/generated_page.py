"""Markdown pages that a script writes: a title, an introduction, and lists below headings."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

_WIDTH = 120


def page(
    title: str, *, script: str, source: str, introduction: str, lists: Mapping[str, Sequence[str]]
) -> str:
    """Return a page's text.

    Args:
      title: its heading.
      script: what writes it.
      source: what from.
      introduction: a paragraph.
      lists: below each heading the entries, as `entry` returns them.
    """
    written = f"Written by `python scripts/{script}` from {source}; do not edit it by hand."
    parts = [
        f"# {title}\n\n{written}\n",
        f"{textwrap.fill(introduction, _WIDTH)}\n",
        *(f"## {heading}\n\n" + "\n".join(items) + "\n" for heading, items in lists.items()),
    ]
    return "\n".join(parts)


def entry(text: str, bullet: str = "- ") -> str:
    """Return one entry of a list, wrapped."""
    # A figure and its sign stay on one line.
    return textwrap.fill(
        text.replace(" %", "\u00a0%"),
        _WIDTH,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    ).replace("\u00a0", " ")
