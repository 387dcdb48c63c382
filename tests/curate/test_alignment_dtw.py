"""Time warping: against a plain version of the paper's method, and against what it published."""

import itertools
import math
import random

import alignment_materials as materials
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from benchmarks.alignment import edit_distance
from t5distill.curate import alignment
from t5distill.curate.alignment.dtw import warp
from t5distill.curate.alignment.edit_distance import distances
from t5distill.formats.standin import SENTENCES
from t5distill.formats.vocabulary import ByteVocabulary


def mapped(cost):
    """Return for each column the rows that the cheapest path maps to it, cell by cell."""
    m, n = len(cost), len(cost[0])
    total = {(i, j): math.inf for i in range(-1, m) for j in range(-1, n)}
    total[-1, -1] = 0
    for i in range(m):
        for j in range(n):
            before = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
            total[i, j] = cost[i][j] + min(before)
    rows = [[] for _ in range(n)]
    i, j = m - 1, n - 1
    while (i, j) != (0, 0):
        rows[j].append(i)
        ways = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(ways, key=lambda way: math.inf if min(way) < 0 else total[way])
    rows[0].append(0)
    return rows


def reference(chain, text, vocabulary):
    """Return the paper's soft targets of a chain as a dict of pieces for each token."""
    tokens = chain.meta["tokens"]
    # What stands behind the chain is no part of it.
    while not tokens[-1]["text"].strip():
        tokens = tokens[:-1]
    pieces = [vocabulary.piece(i) for i in vocabulary.encode(text)]
    cost = [[edit_distance(t["text"].replace(" ", ""), p.replace("▁", "")) for p in pieces]
            for t in tokens]  # fmt: skip
    found = []
    for piece, rows in zip(pieces, mapped(cost), strict=True):
        token = tokens[rows[0]]
        if len(rows) != 1 or token["text"].replace(" ", "▁") != piece:
            found.append({piece: 1.0})
            continue
        row = {}
        for other, logprob in token["top"]:
            other = other.replace(" ", "▁")
            if vocabulary.id_of(other) is not None:
                row.setdefault(other, math.exp(logprob))
        found.append({other: p for other, p in row.items() if p > 0})
    return found


@hypothesis.given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=30))
def test_distances(pairs):
    got = distances([a for a, _ in pairs], [b for _, b in pairs])
    assert got.tolist() == [edit_distance(a, b) for a, b in pairs]


@hypothesis.given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_paths_of_several_tables_at_once(shapes, most, rng):
    # Small costs make many ties.
    costs = [[[rng.randint(0, most) for _ in range(n)] for _ in range(m)] for m, n in shapes]
    counts, steps = warp([np.array(cost) for cost in costs])
    for cost, count, step in zip(costs, counts.tolist(), steps.tolist(), strict=True):
        want = mapped(cost)
        assert count[: len(want)] == [len(rows) for rows in want]
        assert step[: len(want)] == [rows[-1] for rows in want]


def invented_chains(count=30):
    """Sentences cut into tokens at random, with alternatives from other sentences."""
    rng = random.Random(1)
    for _ in range(count):
        words = rng.choice(SENTENCES).split()[:20]
        text = " ".join(words)
        cuts = sorted({0, len(text), *rng.choices(range(1, len(text)), k=len(words))})
        tokens = []
        for begin, end in itertools.pairwise(cuts):
            others = [" " + rng.choice(words) for _ in range(3)]
            others = [other for other in dict.fromkeys(others) if other != text[begin:end]]
            top = [(text[begin:end], 0.5), *((other, 0.1) for other in others)]
            tokens.append((text[begin:end], top))
        yield materials.chain(tokens)


def same(vocabulary, found, want):
    got = materials.table(vocabulary, found)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a == pytest.approx(b, rel=1e-12) and a.keys() == b.keys()


def test_invented_chains_against_the_plain_version(tmp_path):
    vocabulary = materials.small(tmp_path)
    chains = list(invented_chains())
    many = alignment.align_many([c.text for c in chains], chains, vocabulary, method="dtw", k=6)
    for chain, found in zip(chains, many, strict=True):
        same(vocabulary, found, reference(chain, chain.text, vocabulary))
        assert ((found.cases == 1) | (found.probabilities[:, 0] == 1)).all()
        alone = alignment.align(chain.text, chain, vocabulary, method="dtw", k=6)
        assert all((a == b).all() for a, b in zip(alone, found, strict=True))


def test_the_answer_behind_the_chain_has_no_soft_target(tmp_path):
    vocabulary = materials.small(tmp_path)
    chain = materials.chain([("If", [("If", 0.5)]), (" sold", [(" sold", 0.5), (" clip", 0.25)])])
    found = alignment.align("If sold The 48", chain, vocabulary, method="dtw")
    assert materials.table(vocabulary, found) == [
        {"▁If": 1.0},  # "If" is another text than "▁If"
        {"▁sold": 0.5, "▁clip": 0.25},
        {},
        {},
    ]
    assert found.cases.tolist() == [0, 1, 0, 0]
    by_bytes = alignment.align(chain.text, chain, ByteVocabulary(), method="dtw")
    assert (by_bytes.probabilities.sum(1) == 1).all()


@materials.needs_real_data
def test_codex_chains_against_the_plain_version():
    chains = materials.codex_chains()
    for vocabulary in (materials.real_t5(), materials.real_t5(materials.NO_CODEC)):
        many = alignment.align_many([c.text for c in chains], chains, vocabulary, method="dtw", k=6)
        for chain, found in zip(chains, many, strict=True):
            same(vocabulary, found, reference(chain, chain.text, vocabulary))


@materials.needs_real_data
def test_the_published_alignment():
    [chain, *_] = materials.codex_chains()
    vocabulary = materials.real_t5(materials.NO_CODEC)
    found = alignment.align(chain.text, chain, vocabulary, method="dtw", k=6)
    published = materials.codex_published()
    same(vocabulary, found, [{t: p for t, p in row.items() if p > 0} for row in published])
