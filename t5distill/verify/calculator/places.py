"""The chains of a text, each with what stands around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from t5distill.verify.arithmetic import with_mixed_numbers
from t5distill.verify.calculator import doubt
from t5distill.verify.chains import Chain, chains
from t5distill.verify.plain import ARITHMETIC, SAME_LENGTH
from t5distill.verify.tokens import Token, tokenize

# No chain of thought is longer; what a looping student writes beyond it is left as it is.
_LONGEST = 100_000
_BULLET = re.compile(r"^ {0,8}- (?=\S)", re.MULTILINE)
_FRACTION = re.compile(r"(\\[dtc]?frac)\{([0-9]{1,9})\}\{([0-9]{1,9})\}")


class Place(NamedTuple):
    """A chain and where it stands."""

    text: str
    tokens: list[Token]
    chain: Chain
    left: str | None = None  # what `doubt.left_side` says of it
    bullet: bool = False  # a dash at the start of the line was taken for a bullet


def places(text: str) -> Iterator[Place]:
    """Yield the chains of `text` with what stands around them."""
    characters = text[:_LONGEST].translate(SAME_LENGTH).translate(ARITHMETIC)
    if "frac{" in characters:
        characters = _FRACTION.sub(_bracketed, characters)
    bullets: set[int] = set()
    if "- " in characters:
        bullets = {m.end() for m in _BULLET.finditer(characters)}
        characters = _BULLET.sub(lambda m: " " * len(m[0]), characters)
    tokens = with_mixed_numbers(tokenize(characters))
    before: Chain | None = None
    for chain in chains(tokens):
        first = chain.first
        while first and tokens[first - 1].kind == "currency":
            first -= 1
        bullet = tokens[first].start in bullets
        left = doubt.left_side(tokens, chain, before, bullet=bullet)
        if left is None and len(chain.segments) > 1 and doubt.named_unknown(tokens, chain):
            left = doubt.DOUBTFUL
        yield Place(text, tokens, chain, left, bullet)
        before = chain


def _bracketed(found: re.Match[str]) -> str:
    r"""Write `\frac{3}{4}` as `(3/4)` in as many characters, so that positions stay true.

    Behind a number or letter it is no factor (`2\frac{1}{2}`), and stays what nobody reads.
    """
    command, top, bottom = found.groups()
    before = found.string[found.start() - 1 : found.start()]
    if before.isalnum() or before == ")":
        return found[0]
    return f"({' ' * len(command)}{top}/ {bottom})"
