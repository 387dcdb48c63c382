"""`t5distill export`: what it writes is what it read, and others read it."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import safetensors.numpy

from t5distill import Student
from t5distill.__main__ import main
from t5distill.export import huggingface
from t5distill.formats import vocabulary
from t5distill.formats.standin import standin_vocabulary
from t5distill.student import checkpoints
from t5distill.student.config import T5Config
from t5distill.student.network import init_parameters
from t5distill.student.weights import open_weights

CONFIG = T5Config(
    vocab_size=512,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=24,
    num_encoder_layers=2,
    num_decoder_layers=1,
)
DATA = {
    "benchmark": "gsm8k",
    "style": "cot",
    "chains": "gsm8k_cot_some",
    "teachers": ["some-teacher"],
    "examples": {"train": 5120},
    "problems": 1280,
    "sha256": "0123456789abcdef",
}
live = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("torch", "transformers"))),
    reason="torch and transformers are not installed: tokenizer and weights are checked apart",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A MODEL_DIR as `train` leaves it."""
    folder = tmp_path_factory.mktemp("run") / "base"
    folder.mkdir()
    standin_vocabulary(folder / vocabulary.SAVED_MODEL)
    record = {
        "vocab": {"name": "t5", "path": str(folder / "spiece.model")},
        "task": "gsm8k_cot_some",
        "style": "cot",
        "task_feature_lengths": {"inputs": 96, "targets": 20},
        "data": [DATA, {"benchmark": "svamp", "style": "cot", "chains": "of the benchmark"}],
    }
    checkpoints.write_config(folder, CONFIG, record)
    params = jax.tree.map(np.array, init_parameters(CONFIG, 0))
    # Texts that differ, by choices that no rounding turns.
    params["token_embedder"]["embedding"] *= 3
    params["decoder"]["logits_dense"]["kernel"] *= 3
    params["decoder"]["logits_dense"]["kernel"][:, :3] = 0
    writer = checkpoints.Checkpoints(folder, keep=2)
    writer.save(3, params, {"count": np.zeros(1)}, {})
    writer.save(5, params, {"count": np.zeros(1)}, {})
    writer.close()
    run = {"versions": {"jax": "0.10.2"}, "devices": {"count": 8, "kind": "TPU v5e"}, "steps": 5}
    (folder / "run.json").write_text(json.dumps({**run, "python": "3.11.7", "commit": "abc"}))
    macros = (
        "# Macros:\n# ===\nBATCH_SIZE = 7\nMODEL_DIR = '/home/me/secret'\n\n# Parameters for x:"
    )
    (folder / "config.gin").write_text(macros)
    return folder


def export(checkpoint, out, *more):
    return main(["export", "--checkpoint", str(checkpoint), "--out", str(out), *map(str, more)])


def same(a, b):
    a, b = (open_weights(x).load(None) for x in (a, b))
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_round_trips_are_equal_to_the_bit(trained, tmp_path, capsys):
    assert export(trained, tmp_path / "hf") == 0
    assert "(t5distill) ->" in (said := capsys.readouterr().out) and "peak memory" in said
    assert same(trained, tmp_path / "hf")
    assert export(tmp_path / "hf", tmp_path / "t5x", "--format", "t5x") == 0
    assert open_weights(tmp_path / "t5x").kind == "t5x"
    assert same(trained, tmp_path / "t5x")
    vocab = ("--vocab_path", trained / "spiece.model")
    assert export(tmp_path / "t5x", tmp_path / "back", *vocab) == 0
    whole = [
        safetensors.numpy.load_file(tmp_path / n / "model.safetensors") for n in ("hf", "back")
    ]
    assert whole[0].keys() == whole[1].keys()
    assert all(np.array_equal(whole[0][k], whole[1][k]) for k in whole[0])


def test_the_step_goes_along(trained, tmp_path):
    export(trained, tmp_path, "--format", "t5x", "--step", 3)
    assert (tmp_path / "checkpoint_3/checkpoint").is_file()
    assert open_weights(tmp_path).step == 3


def test_a_student_reads_itself(trained, tmp_path):
    export(trained, tmp_path / "hf")
    first, second = Student.load(trained), Student.load(tmp_path / "hf")
    assert (second.style, second.task, second.lengths) == (first.style, first.task, first.lengths)
    prompts = ["Q: How many?\nA:", "x = {1}"]
    wanted = [row[0].text for row in first.generate(prompts, max_tokens=9)]
    assert [row[0].text for row in second.generate(prompts, max_tokens=9)] == wanted


def test_shards(trained, tmp_path):
    export(trained, tmp_path / "hf", "--shard_gb", "1e-5")
    files = sorted(p.name for p in (tmp_path / "hf").glob("*.safetensors"))
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05}.safetensors"
    index = json.loads((tmp_path / "hf/model.safetensors.index.json").read_text())
    for file in files:
        held = safetensors.numpy.load_file(tmp_path / "hf" / file)
        assert set(held) == {n for n, f in index["weight_map"].items() if f == file}
        assert len(held) == 1 or sum(a.nbytes for a in held.values()) <= 10_000
    assert same(trained, tmp_path / "hf")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_smaller_numbers(trained, tmp_path, dtype):
    export(trained, tmp_path / "hf", "--dtype", dtype)
    held = open_weights(tmp_path / "hf").arrays
    assert {a.dtype.name for a in held.values()} == {dtype}
    wanted = open_weights(trained).arrays
    for path, array in held.items():
        np.testing.assert_allclose(
            array.read().astype(np.float32), wanted[path].read(), rtol=2**-8, atol=1e-6
        )


def test_the_model_card(trained, tmp_path):
    scores = tmp_path / "gsm8k-test"
    scores.mkdir()
    found = {"accuracy": 0.123, "low": 0.1, "high": 0.15, "n": 1319}
    (scores / "scores.json").write_text(json.dumps(found))
    export(trained, tmp_path / "hf", "--scores", scores, "--name", "my-student")
    card = (tmp_path / "hf/README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    for said in (
        "# my-student",
        "5,120 verified chains of some-teacher for 1,280 problems (`gsm8k_cot_some`",
        "- benchmark svamp, style cot: chains of the benchmark",
        "| gsm8k-test | 12.3 % | 10.0 to 15.0 | 1319 |",
        "Step 5 of 5, on 8 x TPU v5e",
        "BATCH_SIZE = 7",
        'tokenizer("Q: How many?\\nA: Let\'s think step by step."',
        "Apache-2.0",
        "2 encoder and 1 decoder layers",
    ):
        assert said in card
    assert "secret" not in card


def test_what_stands_in_the_way(trained, tmp_path, capsys):
    def refused(said, *arguments):
        assert export(*arguments) == 2
        assert said in capsys.readouterr().err

    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").write_text("")
    refused("full is there already", trained, tmp_path / "full")
    refused("no such directory", tmp_path / "nothing", tmp_path / "x")
    refused("no checkpoint of step 4", trained, tmp_path / "x", "--step", 4)
    refused("--step is '-1', wanted a number", trained, tmp_path / "x", "--step=-1")
    refused("--shard_gb is 0.0", trained, tmp_path / "x", "--shard_gb", 0)
    refused("no scores.json", trained, tmp_path / "x", "--scores", tmp_path)
    refused("float32 or bfloat16", trained, tmp_path / "x", "--format=t5x", "--dtype=float16")
    refused("a Hugging Face directory only", trained, tmp_path, "--format=t5x", "--vocab=t5")
    assert export(trained, tmp_path / "t5x", "--format=t5x") == 0
    refused("checkpoint_5 is there already", trained, tmp_path / "t5x", "--format=t5x")
    capsys.readouterr()
    refused("does not say its vocabulary", tmp_path / "t5x", tmp_path / "x")
    large = standin_vocabulary(tmp_path / "large.model", vocab_size=450)
    refused("the network 512", tmp_path / "t5x", tmp_path / "x", "--vocab_path", large)
    assert not (tmp_path / "x").exists()


def test_a_vocabulary_that_the_checkpoint_contradicts(trained, tmp_path, capsys):
    other = standin_vocabulary(tmp_path / "other.model", vocab_size=390)
    for arguments, said in (
        (("--vocab", "byt5"), "says t5; leave it out"),
        (("--vocab_path", other), "is not the vocabulary of"),
    ):
        assert export(trained, tmp_path / "x", *arguments) == 2
        assert said in capsys.readouterr().err
    assert export(trained, tmp_path / "x", "--vocab", "t5") == 0
    copied = (tmp_path / "x/spiece.model").read_bytes()
    assert copied == (trained / "spiece.model").read_bytes()


def test_a_shape_that_t5x_does_not_write_down(trained, tmp_path, capsys):
    export(trained, tmp_path / "hf")
    config = json.loads((tmp_path / "hf/config.json").read_text())
    config["relative_attention_max_distance"] = 40
    (tmp_path / "hf/config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert export(tmp_path / "hf", tmp_path / "t5x", "--format=t5x") == 2
    assert "it would be read as 128" in capsys.readouterr().err


def test_checkpoints_inside_each_other(trained, tmp_path):
    export(trained, tmp_path / "hf")
    export(trained, tmp_path / "hf", "--format=t5x")
    assert open_weights(tmp_path / "hf/checkpoint_5").kind == "t5x"
    assert open_weights(tmp_path / "hf").kind == "huggingface"
    # What lies beside a foreign checkpoint is not its run.
    export(tmp_path / "hf", trained / "inside")
    export(trained / "inside", tmp_path / "again")
    assert "no record of the run" in (tmp_path / "again/README.md").read_text()


def test_a_student_of_several_styles_says_so(trained, tmp_path):
    config = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps({**config, "style": None}))
    try:
        export(trained, tmp_path / "hf")
    finally:
        (trained / "config.json").write_text(json.dumps(config))
    assert "style=...)` asks in the form of one" in (tmp_path / "hf/README.md").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"d_model": 10**30},
        {"feed_forward_proj": []},
        {"num_decoder_layers": "2"},
        {"relative_attention_num_buckets": "32"},
    ],
)
def test_a_damaged_config(trained, tmp_path, capsys, change):
    export(trained, tmp_path / "hf")
    config = json.loads((tmp_path / "hf/config.json").read_text())
    (tmp_path / "hf/config.json").write_text(json.dumps({**config, **change}))
    capsys.readouterr()
    assert export(tmp_path / "hf", tmp_path / "x", "--format=t5x") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_kill_leaves_nothing_that_looks_whole(trained, tmp_path):
    """What a killed export leaves has another name, and the next one begins anew."""
    slow = (
        "import sys, time\n"
        "from t5distill.student import stored\n"
        "read = stored.Stored.read\n"
        "stored.Stored.read = lambda *a: (time.sleep(0.3), read(*a))[1]\n"
        "from t5distill.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    out = tmp_path / "hf"
    command = ["export", "--checkpoint", str(trained), "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-c", slow, *command], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(".hf.*/.model*.part")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(".hf.*")) and not out.exists()
    # What is younger than a second may be another's that has no lock yet.
    time.sleep(1.1)
    assert export(trained, out) == 0
    assert same(trained, out) and not list(tmp_path.glob(".hf.*"))


def test_two_exports_to_one_place(trained, tmp_path, capsys):
    """The one that is done second changes nothing."""
    out = tmp_path / "hf"
    write = huggingface.write_weights

    def meanwhile(*args, **kwargs):
        size = write(*args, **kwargs)
        out.mkdir()
        (out / "theirs").write_text("theirs")
        return size

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface, "write_weights", meanwhile)
        assert export(trained, out) == 2
    assert "in the meantime" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["theirs"]
    assert not list(tmp_path.glob(".hf.*"))


def test_the_card_has_long_macros_whole_and_survives_a_broken_record(trained, tmp_path):
    copied = tmp_path / "copy"
    shutil.copytree(trained, copied)
    run = {"steps": 3, "python": "3.11", "versions": {"jax": "1"}, "commit": "abc"}
    (copied / "run.json").write_text(json.dumps({**run, "devices": {"count": 1, "kind": "cpu"}}))
    long = "a" * 70
    (copied / "config.gin").write_text(
        "# Macros:\n# =====\nMODEL_DIR = '/home/me'\nNAME = \\\n    '"
        + long
        + "'\nLENGTHS = \\\n    {'inputs': 1,\n     'targets': 2}\nX = 1\n# Parameters for f:\n"
    )
    assert export(copied, tmp_path / "hf") == 0
    card = (tmp_path / "hf/README.md").read_text()
    assert f"\nNAME = '{long}'\n" in card
    assert "\nLENGTHS = {'inputs': 1, 'targets': 2}\nX = 1\n" in card
    assert "/home/me" not in card
    (copied / "run.json").write_text("{}")
    assert export(copied, tmp_path / "again") == 0
    assert "no record of the run" in (tmp_path / "again/README.md").read_text()


@live
def test_transformers_writes_the_same_text(trained, tmp_path):
    import torch
    import transformers

    export(trained, tmp_path / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hf").eval()
    prompts = [f"Q: Tom has {i} boxes.\nHow many?\nA: {{{i}}}" for i in range(64)]
    wanted = [row[0].text for row in Student.load(trained).generate(prompts, max_tokens=20)]
    # What stands for an unknown piece is special to transformers, which leaves it out.
    known = [(p, text) for p, text in zip(prompts, wanted, strict=True) if "\u2047" not in text]
    assert len({text for _, text in known}) > 15
    for prompt, text in known:
        with torch.no_grad():
            found = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=20)
        assert tokenizer.decode(found[0], skip_special_tokens=True) == text
