"""Alignment by offsets: spans of text that begin and end with tokens of both models.

For each span the strings that the teacher might have written there are known with their
probabilities, by the chain rule, and the student's tokens for each of them: what the student should
predict at a token is what these strings go on with. Strings differ in what they say, not in how
they are cut into tokens, so no probability is lost where the two models cut them differently.
"""

from __future__ import annotations

import bisect
import itertools
import math
import operator
from collections.abc import Iterator, Sequence

from t5distill.curate.alignment import continuations, one_to_one, steps, targets
from t5distill.curate.alignment.continuations import Continuations, Pair, Vocabulary
from t5distill.curate.alignment.targets import SoftTargets
from t5distill.records import Chain

# A string's probability, and the student's tokens for it.
String = tuple[float, Sequence[int]]


def align_many(
    texts: Sequence[str], chains: Sequence[Chain], vocabulary: Vocabulary, *, k: int
) -> list[SoftTargets]:
    """Return soft targets for many targets, see `alignment.align`."""
    memory = continuations.of(vocabulary)
    with memory.lock:
        memory.forget()
        return _align_many(texts, chains, vocabulary, memory, k=k)


def _align_many(
    texts: Sequence[str],
    chains: Sequence[Chain],
    vocabulary: Vocabulary,
    memory: Continuations,
    *,
    k: int,
) -> list[SoftTargets]:
    pairs = [_pair(text, chain, vocabulary) for text, chain in zip(texts, chains, strict=True)]
    lengths = [len(pair.ids) for pair in pairs]
    found = targets.empty(sum(lengths), k)
    parts = targets.parts(found, lengths)
    singles = one_to_one.Singles(memory)
    begin = 0
    for pair, part in zip(pairs, parts, strict=True):
        spans = list(_spans(pair.own, pair.bounds, pair.begin, pair.end))
        # A chain begins without white space, so the first token's alternatives do as well.
        at, tops = pair.read.bounds, pair.read.tops
        single = [i1 - i0 == 1 == j1 - j0 and at[i0] > 0 for i0, i1, j0, j1 in spans]
        some = [span for span in itertools.compress(spans, single) if tops[span[0]]]
        singles.add(pair, begin, [span[0] for span in some], [span[2] for span in some])
        for span in itertools.compress(spans, map(operator.not_, single)):
            _label_span(part, pair, span, at[span[0]] == 0, memory)
        begin += len(pair.ids)
    singles.label(found)
    return parts


def _pair(text: str, chain: Chain, vocabulary: Vocabulary) -> Pair:
    """Return a chain's tokens beside those of its target."""
    read = steps.read(chain)
    ids, ends = vocabulary.spans(text)
    begin, in_body, length = targets.shared(text, read.body)
    shift = begin - in_body
    own = [bound + shift for bound in read.bounds] if shift else read.bounds
    return Pair(text, ids, [0, *ends], read, own, begin, begin + length)


def _spans(
    teacher: Sequence[int], student: Sequence[int], begin: int, end: int
) -> Iterator[tuple[int, int, int, int]]:
    """Return the smallest spans that begin and end with tokens of both.

    A token without a length (a part of a character) belongs to what begins where it stands.

    Args:
      teacher: where each token begins, and behind them where the last one ends.
      student: likewise.
      begin: where the text begins that both share.
      end: where it ends.

    Returns:
      the teacher's tokens from and to, and the student's, of each span.
    """
    # Backwards, so that of several tokens that begin at one place the first stays.
    i_at = dict(zip(reversed(teacher), range(len(teacher) - 1, -1, -1), strict=True))
    j_at = dict(zip(reversed(student), range(len(student) - 1, -1, -1), strict=True))
    both = sorted(i_at.keys() & j_at.keys())
    both = both[bisect.bisect_left(both, begin) : bisect.bisect_right(both, end)]
    i, j = [i_at[at] for at in both], [j_at[at] for at in both]
    return zip(i, i[1:], j, j[1:], strict=False)


def _label_span(
    found: SoftTargets,
    pair: Pair,
    span: tuple[int, int, int, int],
    first: bool,
    memory: Continuations,
) -> None:
    """Write the soft targets of a span of any number of tokens."""
    i0, i1, j0, j1 = span
    written = _written(pair, i0, i1, first)
    if written is None:
        return
    context, before = memory.context(pair, j0)
    ids = pair.ids[j0:j1]
    strings = _strings(written, context, before, memory)
    strings.append((written[-1][1], ids))
    found.cases[j0:j1] = targets.case(i1 - i0, j1 - j0)
    for position, row in enumerate(_rows(strings, ids), start=j0):
        targets.put(found, position, row, pair.ids[position])


def _written(pair: Pair, i0: int, i1: int, first: bool) -> list[tuple[str, float]] | None:
    """Return the strings that the teacher might have written in a span, with probabilities.

    The last of them is what it did write. None where a token of the span has no probability.
    """
    strings: list[tuple[str, float]] = []
    before, product = "", 1.0
    for i in range(i0, i1):
        values: dict[str, float] = {}
        for text, logprob in pair.read.tops[i]:
            values.setdefault(text, logprob)
        values = {text: math.exp(logprob) for text, logprob in values.items()}
        sampled = values.pop(pair.read.texts[i], 0.0)
        if not sampled > 0.0:
            return None
        # Rounded probabilities may sum to a little more than 1.
        product /= max(1.0, sampled + math.fsum(values.values()))
        for text, probability in values.items():
            text = text.lstrip() if first and i == i0 else text
            if probability > 0.0:
                strings.append((before + text if text else "", product * probability))
        before += pair.text[pair.own[i] : pair.own[i + 1]]
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
