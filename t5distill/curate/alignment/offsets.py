"""Alignment by offsets: spans of text that begin and end with tokens of both models.

For each span the strings that the teacher might have written there are known with their
probabilities, by the chain rule, and the student's tokens for each of them: what the student should
predict at a token is what these strings go on with. Strings differ in what they say, not in how
they are cut into tokens, so no probability is lost where the two models cut them differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from t5distill.curate.alignment import continuations, steps, targets
from t5distill.curate.alignment.continuations import Continuations, Vocabulary
from t5distill.curate.alignment.targets import SoftTargets
from t5distill.records import Chain

# A string's probability, and the student's tokens for it.
String = tuple[float, Sequence[int]]


def align(target: str, chain: Chain, vocabulary: Vocabulary, *, k: int) -> SoftTargets:
    """Return soft targets for a target's tokens, see `alignment.align`."""
    read = steps.read(chain)
    memory = continuations.of(vocabulary)
    ids, ends = vocabulary.spans(target)
    bounds = [0, *ends]
    found = targets.empty(len(ids), k)
    begin, in_body, length = targets.shared(target, read.body)
    # Positions of the teacher's tokens in the target.
    own = [bound - in_body + begin for bound in read.bounds]
    for i0, i1, j0, j1 in _spans(own, bounds, begin, begin + length):
        first = read.bounds[i0] == 0
        written = _written(target, own, read.tops, (i0, i1), read.texts, first)
        if written is None:
            continue
        context, from_token = memory.context(target, ids, bounds, j0)
        strings = _strings(written, context, ids[from_token:j0], memory)
        strings.append((written[-1][1], ids[j0:j1]))
        found.cases[j0:j1] = targets.case(i1 - i0, j1 - j0)
        for position, row in enumerate(_rows(strings, ids[j0:j1]), start=j0):
            targets.put(found, position, row, ids[position])
    return found


def _spans(
    teacher: Sequence[int], student: Sequence[int], begin: int, end: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield the smallest spans that begin and end with tokens of both.

    A token without a length (a part of a character) belongs to what begins where it stands.

    Args:
      teacher: where each token begins, and behind them where the last one ends.
      student: likewise.
      begin: where the text begins that both share.
      end: where it ends.

    Yields:
      the teacher's tokens from and to, and the student's.
    """
    i = j = 0
    last: tuple[int, int] | None = None
    while i < len(teacher) and j < len(student):
        if teacher[i] < student[j]:
            i += 1
        elif student[j] < teacher[i]:
            j += 1
        else:
            at = teacher[i]
            if begin <= at <= end:
                if last is not None:
                    yield last[0], i, last[1], j
                last = i, j
            while i < len(teacher) and teacher[i] == at:
                i += 1
            while j < len(student) and student[j] == at:
                j += 1


def _written(
    target: str,
    own: Sequence[int],
    tops: Sequence[Any],
    span: tuple[int, int],
    texts: Sequence[str],
    first: bool,
) -> list[tuple[str, float]] | None:
    """Return the strings that the teacher might have written in a span, with probabilities.

    The last of them is what it did write. None where a token of the span has no probability.
    """
    strings: list[tuple[str, float]] = []
    before, product = "", 1.0
    for i in range(*span):
        values: dict[str, float] = {}
        for text, logprob in tops[i]:
            values.setdefault(text, logprob)
        values = {text: math.exp(logprob) for text, logprob in values.items()}
        sampled = values.pop(texts[i], 0.0)
        if not sampled > 0.0:
            return None
        # Rounded probabilities may sum to a little more than 1.
        product /= max(1.0, sampled + math.fsum(values.values()))
        for text, probability in values.items():
            # A chain begins without white space, so one that began so would begin with its word.
            text = text.lstrip() if first and i == span[0] else text
            if probability > 0.0:
                strings.append((before + text if text else "", product * probability))
        before += target[own[i] : own[i + 1]]
        product *= sampled
    return [*strings, (before, product)]


def _strings(
    written: Sequence[tuple[str, float]], context: str, before: Sequence[int], memory: Continuations
) -> list[String]:
    """Return the student's tokens for all but the last string, behind those of the context.

    A string that changes the context's tokens is none that could follow them.
    """
    strings = []
    for text, probability in written[:-1]:
        text = memory.usable(text)
        if text:
            tokens = memory.tokens(context + text)
            if tokens[: len(before)] == before:
                strings.append((probability, tokens[len(before) :]))
    return strings


def _rows(strings: list[String], ids: Sequence[int]) -> Iterator[dict[int, float]]:
    """Yield for each of the student's tokens what the strings go on with, behind those before."""
    for position, own in enumerate(ids):
        row: dict[int, float] = {}
        for probability, tokens in strings:
            if len(tokens) > position:
                token = tokens[position]
                row[token] = row.get(token, 0.0) + probability
        if position:
            total = math.fsum(probability for probability, _ in strings)
            row = {token: probability / total for token, probability in row.items()}
        yield row
        strings = [s for s in strings if len(s[1]) > position and s[1][position] == own]
