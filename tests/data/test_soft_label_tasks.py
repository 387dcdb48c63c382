"""Soft labels as features: what reaches the loss is what was aligned, packed or not."""

import json
import math
import zlib

import numpy as np
import pytest
import seqio

from t5distill import data, tasks  # noqa: F401 (registers)
from t5distill.curate import alignment
from t5distill.data import inspect_batch
from t5distill.data.converters import lengths_of
from t5distill.errors import UserError
from t5distill.formats import cot, quantised, vocabulary
from t5distill.records import Problem, read_jsonl

K = 5
LENGTHS = {"inputs": 128, "targets": 96}


def with_tokens(chain):
    """Return a chain with five alternatives a word, which its text decides."""
    draw = np.random.default_rng(zlib.crc32(chain.text.encode()))
    words = chain.text.split(" ")
    tokens = []
    for i, word in enumerate(words):
        text = f" {word}" if i else word
        shares = np.sort(draw.dirichlet([0.5] * (K + 1)))[:0:-1] + 1e-6
        others = [f" word{j}" if i else f"word{j}" for j in range(K - 1)]
        top = [[t, math.log(p)] for t, p in zip([text, *others], shares / 1.001, strict=True)]
        tokens.append({"text": text, "top": top})
    return type(chain)(**{**chain.__dict__, "meta": {"tokens": tokens}})


@pytest.fixture(scope="module")
def chains(prepared, make_chain):
    """A curated set of three chains a problem, by (problem, sample)."""
    problems = list(read_jsonl(Problem, prepared / "gsm8k/train.jsonl"))
    pairs = [(p, with_tokens(make_chain(p, sample=s))) for p in problems for s in range(3)]
    data.write_tfds("gsm8k_cot_talker", pairs, soft_labels=K)
    data.register(benchmark="gsm8k", style="cot_soft", teacher="talker")
    data.register(benchmark="gsm8k", style="cot_soft_dtw", teacher="talker")
    data.register(benchmark="gsm8k", style="answer_soft", teacher="talker")
    return {(p.id, c.sample): (p, c) for p, c in pairs}


def wanted_rows(chains, vocab="t5", method="offsets"):
    """Return `{targets: (ids, probabilities)}` straight from the alignment, dequantised."""
    plain = vocabulary.load(vocab)
    rows = {}
    for problem, chain in chains.values():
        text = cot.targets(problem, chain)
        soft = alignment.align(text, chain, plain, method=method, k=K)
        assert soft.probabilities.sum() > 0 and len(soft.ids) == len(plain.encode(text))
        rows[tuple(plain.encode(text))] = soft
    return rows


def restored(batch):
    """Return ids and probabilities `[rows, length, K]` as the loss does."""
    shape = (*batch["decoder_target_tokens"].shape, K)
    ids = quantised.ids(batch["decoder_soft_ids"]).reshape(shape)
    return ids, quantised.probabilities(batch["decoder_soft_values"]).reshape(shape)


def by_target(batches):
    """Return `{targets: (ids, probabilities)}` of every example, its end of sequence included."""
    found = {}
    for batch in batches:
        ids, probabilities = restored(batch)
        targets = batch["decoder_target_tokens"]
        segments = batch.get("decoder_segment_ids", (targets > 0).astype(np.int32))
        for row in range(len(targets)):
            for segment in range(1, segments[row].max(initial=0) + 1):
                here = segments[row] == segment
                key = tuple(targets[row][here].tolist())
                found[key] = ids[row][here], probabilities[row][here]
            padding = segments[row] == 0
            assert not probabilities[row][padding].any() and not ids[row][padding].any()
    return found


@pytest.mark.parametrize(("style", "method"), [("cot_soft", "offsets"), ("cot_soft_dtw", "dtw")])
@pytest.mark.parametrize("pack", [True, False])
def test_batches_hold_what_was_aligned(chains, style, method, pack):
    found = by_target(
        data.stream_batches(
            f"gsm8k_{style}_talker", lengths=LENGTHS, batch_size=4, pack=pack, repeat=False
        )
    )
    wanted = wanted_rows(chains, method=method)
    assert {key[:-1] for key in found} == set(wanted)
    for key, (ids, probabilities) in found.items():
        soft = wanted[key[:-1]]
        assert key[-1] == vocabulary.EOS_ID
        assert not probabilities[-1].any()  # the end of sequence has no soft target
        np.testing.assert_array_equal(ids[:-1], np.where(soft.probabilities > 0, soft.ids, 0))
        np.testing.assert_allclose(probabilities[:-1], soft.probabilities, rtol=2.5e-4)
        assert (probabilities.sum(-1) <= 1 + 1e-9).all()
        np.testing.assert_array_equal(probabilities[:-1] > 0, soft.probabilities > 0)


def test_packed_and_plain_rows_are_equal_to_the_bit(chains):
    packed, plain = (
        by_target(
            data.stream_batches(
                "gsm8k_cot_soft_talker", lengths=LENGTHS, batch_size=4, pack=pack, repeat=False
            )
        )
        for pack in (True, False)
    )
    assert packed.keys() == plain.keys()
    for key, arrays in packed.items():
        for mine, other in zip(arrays, plain[key], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_rows_that_are_cut_are_cut_by_whole_tokens(chains):
    short = {"inputs": 128, "targets": 9}
    found = by_target(
        data.stream_batches(
            "gsm8k_cot_soft_talker", lengths=short, batch_size=4, pack=False, repeat=False
        )
    )
    wanted = wanted_rows(chains)
    assert found
    for key, (_, probabilities) in found.items():
        assert len(key) == 9
        begin_so = [soft.probabilities[:9] for whole, soft in wanted.items() if whole[:9] == key]
        assert any(np.allclose(probabilities, p, rtol=2.5e-4, atol=0) for p in begin_so)


def test_bytes(chains):
    lengths = {"inputs": 512, "targets": 256}
    name = data.resolve("gsm8k_cot_soft_talker", "byt5")
    found = by_target(
        data.stream_batches(name, lengths=lengths, batch_size=4, pack=False, repeat=False)
    )
    wanted = wanted_rows(chains, vocab="byt5")
    for key, (ids, probabilities) in found.items():
        np.testing.assert_allclose(probabilities[:-1], wanted[key[:-1]].probabilities, rtol=2.5e-4)
        assert (ids < 259).all()


def test_a_bare_answer_and_an_evaluation_problem_have_none(chains):
    for name, split in (("gsm8k_answer_soft_talker", "train"), ("gsm8k_cot_soft_talker", "test")):
        [*batches] = data.stream_batches(
            name, lengths=LENGTHS, batch_size=8, split=split, pack=False, repeat=False
        )
        assert sum(int((b["decoder_target_tokens"] > 0).sum()) for b in batches) > 100
        assert not any(restored(b)[1].any() for b in batches)


def test_a_mixture_with_bare_answers(chains):
    data.register_mixture("soft_pair", ["gsm8k_cot_soft_talker", "gsm8k_answer_soft_talker"])
    assert lengths_of("soft_pair", LENGTHS)["soft_ids"] == K * LENGTHS["targets"]
    batch = next(data.stream_batches("soft_pair", lengths=LENGTHS, batch_size=32, seed=1))
    soft = restored(batch)[1][..., 0] > 0
    assert 0 < soft.sum() < (batch["decoder_target_tokens"] > 0).sum()


def test_the_features_are_kept_by_seqio_s_own_cache_and_json(chains):
    example = next(
        iter(
            seqio.get_mixture_or_task("gsm8k_cot_soft_talker")
            .get_dataset(split="train", shuffle=False, sequence_length=None)
            .as_numpy_iterator()
        )
    )
    assert "soft_ids_pretokenized" not in example and "chain" not in example
    assert len(example["soft_ids"]) == len(example["soft_values"]) == K * len(example["targets"])
    assert example["soft_ids"].min() >= 1 and example["soft_values"].min() >= 1


def test_a_set_that_nobody_looked_at_is_refused(prepared, chains):
    pairs = [(p, c) for p, c in chains.values()]
    data.write_tfds("gsm8k_cot_careless", pairs)
    data.register(benchmark="gsm8k", style="cot_soft", teacher="careless")
    with pytest.raises(UserError, match=r"--top-logprobs 5.* curate with --soft-labels 5"):
        next(data.stream_batches("gsm8k_cot_soft_careless", lengths=LENGTHS, batch_size=2))
    with pytest.raises(UserError, match="own solutions have no log-probabilities"):
        data.register("gold_soft", benchmark="gsm8k", style="cot_soft")
        next(data.stream_batches("gold_soft", lengths=LENGTHS, batch_size=2))


def test_tokens_of_another_text_are_named_before_the_first_step(prepared, chains):
    pairs = [(p, c) for p, c in chains.values()][:6]
    problem, chain = pairs[4]
    pairs[4] = problem, type(chain)(**{**chain.__dict__, "text": f"But {chain.text}"})
    directory = data.write_tfds("gsm8k_cot_liar", pairs)
    manifest = directory / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "soft_labels": K}))
    data.register(benchmark="gsm8k", style="cot_soft", teacher="liar")
    with pytest.raises(UserError, match=f"chain of {problem.id}, sample {chain.sample}: "):
        next(data.stream_batches("gsm8k_cot_soft_liar", lengths=LENGTHS, batch_size=2))


@pytest.mark.parametrize("p", [1.0, 0.999, 0.5, 1e-3, 1e-30])
def test_a_real_entry_is_never_0(p):
    ids, values = quantised.encoded(np.array([[0, 7]]), np.array([[p, 0.0]]))
    assert ids.tolist() == [1, 1] and values[1] == 1 and values[0] >= 2
    back = quantised.probabilities(values)
    assert back[0] == pytest.approx(p, rel=2.5e-4) and back[0] <= p and back[1] == 0.0


def test_the_batch_can_be_looked_at(chains):
    batch = next(data.stream_batches("gsm8k_cot_soft_talker", lengths=LENGTHS, batch_size=1))
    told = "\n".join(inspect_batch.lines(batch, vocabulary.load("t5")))
    heads = [line for line in told.splitlines() if line.startswith("soft labels of ")]
    assert len(heads) == batch["decoder_segment_ids"].max()
    assert told.count(" %") > 50
