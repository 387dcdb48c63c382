"""Soft targets by offsets: cases worked by hand, invariants, and a real teacher's chains."""

import json
import math
import pathlib
import random

import alignment_materials as materials
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from t5distill.curate import alignment
from t5distill.formats.vocabulary import ByteVocabulary
from t5distill.problems import embedded
from t5distill.teacher.loopback import tokens as loopback
from t5distill.teacher.loopback.answers import Writer
from t5distill.teacher.loopback.probabilities import Probabilities

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "alignment.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return materials.small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def vocabularies(small, tmp_path_factory):
    return [small, ByteVocabulary(), materials.like_mt5(tmp_path_factory.mktemp("mt5"))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_cases_worked_by_hand(case, small):
    vocabulary = ByteVocabulary() if case.get("vocab") == "byt5" else small
    meta = {"cut": case["cut"]} if "cut" in case else {}
    chain = materials.chain(case["tokens"], case.get("text"), **meta)
    target = case.get("target", chain.text)
    found = alignment.align(target, chain, vocabulary, k=case.get("k", 5))
    assert [vocabulary.piece(i) for i in vocabulary.encode(target)] == [
        piece for piece, _, _ in case["want"]
    ]
    assert [alignment.CASES[c] for c in found.cases] == [name for _, name, _ in case["want"]]
    for got, (_, _, want) in zip(materials.table(vocabulary, found), case["want"], strict=True):
        assert got == pytest.approx(want, abs=1e-12)
        assert list(got.values()) == sorted(got.values(), reverse=True)
    assert ((found.ids == 0) == (found.probabilities == 0)).all()


def test_shapes_and_types(small):
    chain = materials.chain([("If", [("If", 0.5)])])
    for method in alignment.METHODS:
        found = alignment.align("If", chain, small, method=method, k=3)
        assert found.ids.shape == found.probabilities.shape == (1, 3) and found.cases.shape == (1,)
        assert found.ids.dtype == np.int32 and found.probabilities.dtype == np.float64
        assert found.cases.dtype == np.uint8
        assert len(alignment.align("", chain, small, method=method).ids) == 0
        assert alignment.align_many([], [], small, method=method) == []
    with pytest.raises(ValueError, match="offsets"):
        alignment.align("If", chain, small, method="offset")
    with pytest.raises(ValueError, match="k is 0"):
        alignment.align("If", chain, small, k=0)


TEXTS = st.text(st.sampled_from(list("IfTheSheNatalia sold/248.\n é✓{π<")), min_size=1, max_size=30)


@st.composite
def chains(draw):
    """Any text cut into tokens anywhere, with any alternatives to each."""
    text = draw(TEXTS)
    cuts = sorted(draw(st.sets(st.integers(1, len(text)), max_size=10)) | {len(text)})
    tokens = []
    for begin, end in zip([0, *cuts], cuts, strict=False):
        others = draw(st.lists(TEXTS.map(lambda t: t[:4]), max_size=4, unique=True))
        others = [text[begin:end], *(o for o in others if o != text[begin:end])]
        parts = draw(
            st.lists(st.floats(0.001, 1), min_size=len(others) + 1, max_size=len(others) + 1)
        )
        shares = [p / sum(parts) for p in parts[1:]]
        tokens.append((text[begin:end], list(zip(others, shares, strict=True))))
    return materials.chain(tokens)


@hypothesis.given(chains(), st.integers(1, 6))
def test_rows_are_parts_of_distributions_with_the_target_in_them(vocabularies, chain, k):
    for vocabulary in vocabularies:
        found = alignment.align(chain.text, chain, vocabulary, k=k)
        ids = np.array(vocabulary.encode(chain.text))
        assert len(found.ids) == len(ids)
        assert (found.probabilities >= 0).all() and found.probabilities.sum(1).max(initial=0) < (
            1 + 1e-9
        )
        assert (np.diff(found.probabilities, axis=1) <= 0).all()
        # Every sampled token has a probability, so every token has a soft target with itself in it.
        own = (found.ids == ids[:, None]) & (found.probabilities > 0)
        assert (own.sum(1) == 1).all() and (found.cases > 0).all()
        for row, p in zip(found.ids, found.probabilities, strict=True):
            assert len(set(row[p > 0])) == (p > 0).sum()


@hypothesis.given(chains(), st.randoms(use_true_random=False))
def test_the_same_alone_and_among_others(vocabularies, chain, rng):
    others = [materials.chain([("If", [("If", 0.5)])]), chain, chain]
    rng.shuffle(others)
    for vocabulary in vocabularies:
        [alone] = alignment.align_many([chain.text], [chain], vocabulary)
        among = alignment.align_many([c.text for c in others], others, vocabulary)
        for other, found in zip(others, among, strict=True):
            if other is chain:
                for a, b in zip(alone, found, strict=True):
                    assert (a == b).all()


def test_a_teacher_with_the_students_tokens_gives_back_its_own_distribution(small):
    rng = random.Random(0)
    words = [word.replace("▁", " ") for word in materials.WORDS if word.startswith("▁")]
    for _ in range(50):
        tokens = []
        for word in rng.choices(words, k=rng.randint(1, 12)):
            others = rng.sample([w for w in words if w != word], 4)
            parts = [rng.random() for _ in range(6)]
            shares = [p / sum(parts) for p in parts]
            tokens.append((word, list(zip([word, *others], shares, strict=False))))
        found = alignment.align(
            "".join(t for t, _ in tokens).strip(), materials.chain(tokens), small
        )
        assert set(found.cases) == {1}
        for got, (_, top) in zip(materials.table(small, found), tokens, strict=True):
            assert got == pytest.approx({word.replace(" ", "▁"): p for word, p in top})


@hypothesis.given(chains(), st.data())
def test_cutting_a_token_inside_of_a_students_token_changes_nothing(vocabularies, chain, data):
    """Its second part is certain once the first is written: the strings are the same."""
    tokens = chain.meta["tokens"]
    i = data.draw(st.integers(0, len(tokens) - 1))
    text, top = tokens[i]["text"], tokens[i]["top"]
    hypothesis.assume(len(text) > 1)
    at = data.draw(st.integers(1, len(text) - 1))
    # One alternative that is the first part alone would be taken for it.
    hypothesis.assume(not any(other == text[:at] for other, _ in top))
    before = "".join(token["text"] for token in tokens[:i])
    place = len(before) + at - (len(before + text) - len((before + text).lstrip()))
    hypothesis.assume((before + text[:at]).strip())
    first = {"text": text[:at], "top": [[text[:at], top[0][1]], *top[1:]]}
    second = {"text": text[at:], "top": [[text[at:], 0.0]]}
    cut = materials.chain([], chain.text)
    cut.meta["tokens"] = [*tokens[:i], first, second, *tokens[i + 1 :]]
    for vocabulary in vocabularies:
        if place in vocabulary.spans(chain.text)[1] or place >= len(chain.text):
            continue  # the parts are spans of their own now
        whole = alignment.align(chain.text, chain, vocabulary, k=9)
        parts = alignment.align(chain.text, cut, vocabulary, k=9)
        for got, want in zip(
            *(materials.table(vocabulary, f) for f in (parts, whole)), strict=True
        ):
            assert got == pytest.approx(want)


def loopback_chains(count=20):
    probabilities = Probabilities(Writer(wrong_rate=0.2))
    for problem in embedded.generate(count=count, seed=0, split="train"):
        pieces = loopback.pieces(probabilities.writer.text(problem, "cot"))
        table = probabilities.rows(pieces, 5, problem=problem, style="cot")
        tops = [[(text, math.exp(logprob)) for text, logprob in top] for top in table]
        yield materials.chain(list(zip(pieces, tops, strict=True)))


def test_the_loopback_teacher_is_aligned_without_a_hard_token(vocabularies):
    for chain in loopback_chains():
        alignment.check(chain, 5)
        for vocabulary in vocabularies:
            found = alignment.align(chain.text, chain, vocabulary)
            assert (found.cases > 0).all()


@materials.needs_real_data
def test_codex():
    """53 chains of code-davinci-002: every token gets a soft target, by offsets."""
    vocabulary = materials.real_t5()
    chains = materials.codex_chains()
    found = alignment.align_many([c.text for c in chains], chains, vocabulary)
    cases = np.bincount(np.concatenate([f.cases for f in found]), minlength=5).tolist()
    mass = np.concatenate([f.probabilities.sum(1) for f in found])
    assert dict(zip(alignment.CASES, cases, strict=True)) == {
        "hard": 0,
        "one_to_one": 2572,
        "one_to_many": 96,
        "many_to_one": 52,
        "many_to_many": 6,
    }
    assert 0.961 < mass.mean() < 0.962 and mass.max() <= 1 + 1e-9
    by_bytes = alignment.align_many([c.text for c in chains], chains, ByteVocabulary())
    assert all((f.cases > 0).all() for f in by_bytes)
