"""Batches: packed or not, sharded, resumed, and printed."""

import collections
import itertools
import subprocess
import sys

import numpy as np
import pytest
import seqio

from t5distill import data, tasks  # noqa: F401 (registers)
from t5distill.__main__ import main
from t5distill.data import inspect_batch
from t5distill.formats import vocabulary

LENGTHS = {"inputs": 128, "targets": 96}
KEYS = {
    "encoder_input_tokens",
    "decoder_input_tokens",
    "decoder_target_tokens",
    "decoder_loss_weights",
}
PACKED_KEYS = {
    "encoder_segment_ids",
    "encoder_positions",
    "decoder_segment_ids",
    "decoder_positions",
}


def stream(**arguments):
    return data.stream_batches(
        "gsm8k_cot", **{"lengths": LENGTHS, "batch_size": 4, "seed": 3, **arguments}
    )


def contents(batches):
    """Return every example of the batches, as a multiset of texts."""
    plain = vocabulary.load("t5")
    return collections.Counter(
        (s.inputs, s.targets) for batch in batches for s in inspect_batch.segments(batch, plain)
    )


def expected(split="train"):
    return collections.Counter(
        (e["inputs_pretokenized"], e["targets_pretokenized"])
        for e in data.read_examples("gsm8k_cot", split=split)
    )


@pytest.fixture(scope="module")
def one_pass(environment):
    """All batches of one epoch, packed and not."""
    return {pack: list(stream(pack=pack, repeat=False)) for pack in (True, False)}


@pytest.fixture(scope="module")
def unbroken(environment):
    """24 batches, which is more than an epoch, so that reshuffling is part of it."""
    return {pack: list(itertools.islice(stream(pack=pack), 24)) for pack in (True, False)}


@pytest.mark.parametrize("pack", [True, False])
def test_one_pass_holds_every_example_once(one_pass, pack):
    batches = one_pass[pack]
    for batch in batches:
        assert set(batch) == (KEYS | PACKED_KEYS if pack else KEYS)
        for name, array in batch.items():
            length = LENGTHS["inputs" if name.startswith("encoder") else "targets"]
            assert array.shape == (4, length) and array.dtype == np.int32
    assert contents(batches) == expected()


def test_packing_puts_several_examples_in_a_row(one_pass):
    assert len(one_pass[True]) < len(one_pass[False]) == 15


def test_loss_weights_cover_every_target_token_and_no_padding(one_pass):
    for batch in one_pass[True]:
        np.testing.assert_array_equal(
            batch["decoder_loss_weights"], batch["decoder_target_tokens"] != 0
        )


def test_decoder_inputs_are_shifted_within_each_segment(one_pass):
    batch = one_pass[True][0]
    targets, inputs = batch["decoder_target_tokens"], batch["decoder_input_tokens"]
    first = batch["decoder_positions"] == 0
    assert not inputs[first].any()
    same = (batch["decoder_segment_ids"] != 0) & ~first
    np.testing.assert_array_equal(inputs[same], np.roll(targets, 1, axis=1)[same])


@pytest.mark.parametrize("pack", [True, False])
def test_resuming_equals_the_unbroken_stream(unbroken, pack):
    resumed = list(itertools.islice(stream(pack=pack, start_step=20), 4))
    for a, b in zip(unbroken[pack][20:], resumed, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_the_seed_decides_the_order(unbroken):
    first, other = unbroken[True][0], next(stream(seed=4))
    assert (first["encoder_input_tokens"] != other["encoder_input_tokens"]).any()


def test_processes_share_out_the_examples():
    parts = [
        contents(stream(repeat=False, shard_index=index, num_shards=3, pack=False))
        for index in range(3)
    ]
    assert [part.total() - part[("", "")] for part in parts] == [20, 20, 20]
    assert sum(parts, collections.Counter()) == expected()


def test_the_last_batch_is_filled_with_padding():
    *_, last = data.stream_batches(
        "gsm8k_answer",
        lengths=LENGTHS,
        batch_size=10,
        split="test",
        pack=False,
        shuffle=False,
        repeat=False,
    )
    assert last["encoder_input_tokens"].shape[0] == 10
    assert last["decoder_loss_weights"][:5].any(axis=1).all()
    assert not any(array[5:].any() for array in last.values())


def test_a_printed_batch_equals_what_went_in(capsys):
    command = ["inspect", "gsm8k_cot", "--batch-size", "2", "--lengths", "128", "96", "--seed", "3"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    batch = next(stream(batch_size=2, repeat=False))
    plain = vocabulary.load("t5")
    segments = list(inspect_batch.segments(batch, plain))
    going_in = expected()
    assert len(segments) > 2
    for segment in segments:
        assert (segment.inputs, segment.targets) in going_in
        assert segment.inputs in printed and segment.targets in printed
        assert segment.weights == [1] * len(segment.target_tokens)
        weights = "  ".join(f"{plain.piece(i)} 1" for i in segment.target_tokens)
        assert weights in printed


def test_inspect_says_what_is_wrong(capsys, tmp_path, monkeypatch):
    assert main(["inspect", "gsm8k_cto"]) == 2
    assert "did you mean gsm8k_cot?" in capsys.readouterr().err
    assert main(["inspect", "gsm8k_cot", "--batch-size", "0"]) == 2
    assert main(["inspect", "gsm8k_cot", "--module", "no_such_module"]) == 2
    assert main(["inspect", "gsm8k_cot", "--split", "tets"]) == 2
    assert "did you mean test?" in capsys.readouterr().err
    assert main(["inspect", "gsm8k_cot", "--vocab-path", str(tmp_path / "no.model")]) == 2
    assert str(tmp_path / "no.model") in capsys.readouterr().err
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path))
    assert main(["inspect", "gsm8k_cot"]) == 2
    assert "t5distill prepare gsm8k --raw PATH" in capsys.readouterr().err


def test_inspect_help_imports_nothing_heavy():
    code = (
        "import sys; from t5distill.__main__ import _parser; _parser('inspect');"
        "assert not {'tensorflow', 'seqio', 'numpy', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_byte_tasks_give_bytes():
    batch = next(
        data.stream_batches(
            data.resolve("gsm8k_answer", "byt5"),
            lengths={"inputs": 256, "targets": 64},
            batch_size=2,
            split="test",
            shuffle=False,
            pack=False,
        )
    )
    text = vocabulary.load("byt5").decode(batch["encoder_input_tokens"][0])
    assert text.startswith("Q: Tom has 0 boxes") and text.endswith("\nA:")
    assert isinstance(
        seqio.TaskRegistry.get("gsm8k_answer__byt5").output_features["targets"].vocabulary,
        seqio.ByteVocabulary,
    )
