"""`t5distill plan` as it is typed, without any accelerator or its compiler."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from t5distill.__main__ import main
from t5distill.errors import UserError
from t5distill.plan import chips, devices, estimate, programs
from t5distill.student.config import T5Config
from t5distill.student.settings import Settings

TINY = ("--model", "tiny", "--batch", "16", "--lengths", "32,16")


def plan(*words, **environment):
    kept = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, "-m", "t5distill", "plan", *words],
        capture_output=True,
        text=True,
        env={**kept, "XLA_FLAGS": "--xla_backend_optimization_level=0", **environment},
        timeout=900,
    )


def test_a_gpu_is_estimated_on_simulated_processors(tmp_path):
    out = tmp_path / "plan.json"
    done = plan(*TINY, "--mesh", "4x2", "--chip", "h100", "--price", "2.5", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "memory is an estimate: compiled for simulated processors\n" in done.stdout
    assert "tiny: 312,320 parameters; 4 x 2 (data x model)" in done.stdout
    figures = json.loads(out.read_text())
    training, decoding = figures["steps"]
    assert figures["memory_is_exact"] is False
    assert training["fits"] and decoding["fits"]
    assert training["flops"] == pytest.approx(training["closed_formula_flops"], rel=0.05)
    assert decoding["flops"] == pytest.approx(decoding["closed_formula_flops"], rel=0.05)
    assert training["sent_bytes"]["all-reduce"] > 0
    made = training["estimate"]
    slowest = max(made["compute"], made["traffic"], made["links"])
    assert made["dollars"] == pytest.approx(slowest / 3600 * 2.5 * 8)
    assert "oneDNN" not in done.stderr


def test_without_a_chip_every_one_is_held_against_the_estimate():
    done = plan(*TINY, "--mesh", "1x1", "--only", "training")
    assert done.returncode == 0, done.stderr
    assert all(f"    {name} " in done.stdout for name in chips.CHIPS)
    assert "decoding (" not in done.stdout


# Compiled in a tenth of the time; a layer more is nothing new.
SHALLOW = ("--gin.NUM_ENCODER_LAYERS=2", "--gin.NUM_DECODER_LAYERS=2")


def test_what_does_not_fit_is_said_and_what_to_change():
    done = plan(
        *("--model", "t5_1_1_small", "--batch", "4096", "--lengths", "512,512"),
        *("--mesh", "1x1", "--chip", "l4", "--only", "training"),
        *("--gin.OPTIMIZER='adamw'", *SHALLOW),
    )
    # What is kept would fit, and simulated processors say more than a GPU needs.
    assert done.returncode == 0, done.stderr
    assert "fits                  perhaps: simulated processors want" in done.stdout
    order = ["DTYPE", "REMAT", "MICROBATCHES=2", "--batch"]
    places = [done.stdout.index(word) for word in order]
    assert places == sorted(places)


def test_what_cannot_fit_is_said_and_the_code_is_1():
    done = plan(
        *("--model", "t5_1_1_large", "--batch", "1", "--lengths", "32,32"),
        *("--mesh", "1x1", "--chip", "l4", "--only", "decoding", "--decode_rows", "65536"),
        *SHALLOW,
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 1, 'targets': 1}",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NO: " in done.stdout and "fewer --decode_rows" in done.stdout


def test_a_recipe_says_what_is_not_given():
    done = plan(
        *("--model", "tiny", "--mesh", "2x1", "--recipe", "quickstart_cot", "--only", "training"),
        *("--chip", "v6e", "--gin.REMAT='full'"),
    )
    assert done.returncode == 0, done.stderr
    assert "remat full" in done.stdout
    assert "1,500 updates" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*TINY, "--mesh", "4x2", "--chip", "v5"), "--chip is 'v5'"),
        ((*TINY, "--mesh", "8"), "--mesh is '8', wanted DATAxMODEL"),
        ((*TINY, "--mesh", "0x2"), "--mesh is '0x2'"),
        ((*TINY, "--mesh", "3x1"), "--batch is 16, wanted a multiple of 3"),
        ((*TINY, "--mesh", "1x1", "--gin.REMATT='full'"), "REMAT"),
        ((*TINY, "--mesh", "1x1", "--price", "0"), "--price is 0"),
        ((*TINY, "--mesh", "2x1", "--decode_rows", "3"), "--decode_rows is 3"),
        (("--model", "tiny", "--mesh", "1x1"), "--lengths is not given"),
        (("--model", "tiney", "--mesh", "1x1"), "tiny"),
        (
            ("--model", "tiny", "--recipe", "quickstart_cot", "--batch", "0", "--mesh", "1x1"),
            "is 0",
        ),
        ((*TINY, "--mesh", "1x1", "--decode_rows", "0"), "--decode_rows is 0"),
        ((*TINY, "--mesh", "1x1", "--price", "nan"), "--price is nan"),
        ((*TINY, "--mesh", "1x1", "--gin.MODEL_PARALLELISM=4"), "second number of --mesh"),
        ((*TINY, "--mesh", "1x1", "--out", "nowhere/p.json"), "no such folder"),
        ((*TINY, "--mesh", "1x1", "--gin.EMB_DIM='x'"), "of the wrong kind"),
        ((*TINY[:4], "--mesh", "1x1", "--gin.TASK_FEATURE_LENGTHS={'inputs': 5}"), "wanted e.g."),
        ((*TINY[:2], *TINY[4:], "--mesh", "1x1", "--gin.BATCH_SIZE='x'"), "--batch is 'x'"),
        (("--model", "gin/runs/train.gin", "--mesh", "1x1"), "is a run file"),
        ((*TINY[:2], "--lengths", "32", "--mesh", "1x1"), "--lengths is '32'"),
    ],
)
def test_mistakes_are_named(words, said, capsys, monkeypatch):
    # They are found before a device is asked for, so that a process of its own is not needed.
    monkeypatch.setattr(devices, "set_environment", lambda: None)
    monkeypatch.setattr(devices, "simulate", lambda count: pytest.fail("got as far as that"))
    assert main(["plan", *words]) == 2
    assert said in capsys.readouterr().err


def test_heads_that_do_not_divide_are_named():
    done = plan(*TINY, "--mesh", "1x3")
    assert done.returncode == 2
    assert "MODEL_PARALLELISM is 3, which does not divide" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "devices", "shape"),
    [
        ("v5e", 1, (1, 1)),
        ("v5e", 8, (2, 4)),
        ("v5e", 32, (4, 8)),
        ("v6e", 16, (4, 4)),
        ("v3", 8, (2, 2)),
        ("v5e", 256, (16, 16)),
        ("v4", 4, (2, 2, 1)),
        ("v5p", 8, (2, 2, 2)),
        ("v4", 32, (2, 4, 4)),
    ],
)
def test_slices(name, devices, shape):
    assert chips.topology(chips.chip(name), devices) == shape


@pytest.mark.parametrize(
    ("name", "devices", "sizes"),
    [
        ("v5e", 2, "1, 4, 8, 16, ... 256"),
        ("v5e", 12, "1, 4, 8, 16, ... 256"),
        ("v6e", 512, "1, 4, 8, 16, ... 256"),
        ("v3", 3, "4, 8, 16, ... 1,024 chips of 2 devices"),
        ("v3", 4, "4, 8, 16, ... 1,024 chips of 2 devices"),
        ("v5p", 1, "4, 8, 16, ... 4,096"),
    ],
)
def test_there_is_no_such_slice(name, devices, sizes):
    with pytest.raises(UserError, match=f"{devices} devices; a slice of {name} has {sizes}"):
        chips.topology(chips.chip(name), devices)


def program(**changes):
    plain = programs.Program(
        name="training",
        flops=8e15,
        memory=10e9,
        arguments=2e9,
        accessed=1e9,
        transfers=None,
        widths=(0, 0),
        seconds=1.0,
    )
    return plain._replace(**changes)


def test_the_roofline():
    made = estimate.estimate(program(), chips.chip("v5e"), 8, exact=True)
    assert made.compute == pytest.approx(1e15 / 197e12)
    assert made.traffic == pytest.approx(1e9 / 819e9)
    assert made.overlapped == made.compute
    assert made.without_overlap == pytest.approx(made.compute + made.traffic)
    assert made.dollars == pytest.approx(made.compute / 3600 * 8 * 1.20)
    assert made.fits


@pytest.mark.parametrize(
    ("changes", "exact", "fits"),
    [
        ({}, True, True),
        ({}, False, True),
        ({"memory": 17e9}, True, False),
        ({"memory": 17e9}, False, None),  # simulated processors need more than a GPU
        ({"memory": 17e9, "arguments": 17e9}, False, False),
        ({"memory": 17e9, "arguments": 9e9, "beside": 8e9}, False, False),
        ({"memory": None, "refused": "too large"}, True, False),
        ({"memory": 20e9, "refused": "too large"}, True, False),
    ],
)
def test_what_fits(changes, exact, fits):
    assert estimate.estimate(program(**changes), chips.chip("v5e"), 8, exact=exact).fits is fits


def test_a_chip_of_two_devices_is_shared_and_paid_once():
    v3 = chips.chip("v3")
    made = estimate.estimate(program(), v3, 8, exact=True)
    assert made.compute == pytest.approx(1e15 / (v3.flops / 2))
    assert made.dollars == pytest.approx(made.compute / 3600 * 4 * v3.dollars)
    assert made.memory == v3.memory / 2


def test_advice_begins_with_what_fills_the_memory():
    config, settings = T5Config(dtype="bfloat16", remat="full"), Settings(train_steps=1)
    full = program(arguments=14e9, memory=20e9)
    first = estimate.advice(full, 16e9, config, settings, (4, 2))[0]
    assert "more than 2 along model" in first
    lines = estimate.advice(program(memory=20e9), 16e9, config, settings, (4, 2))
    assert lines[0].startswith("--gin.MICROBATCHES=2")
    assert "MODEL_PARALLELISM" in lines[-1]
    decoding = program(name="decoding", memory=20e9)
    assert "--decode_rows" in estimate.advice(decoding, 16e9, config, settings, (4, 2))[1]


@pytest.mark.soak
@pytest.mark.parametrize("step", ["training", "decoding"])
def test_base_compiles_for_v5e(tmp_path, step):
    # `make soak` installs it beside the environment, not into it.
    path = os.environ.get("LIBTPU_PATH", "")
    assert path or importlib.util.find_spec("libtpu"), "wanted libtpu: pip install '.[plan]'"
    out = tmp_path / "plan.json"
    done = plan(
        *("--model", "t5_1_1_base", "--mesh", "8x1", "--batch", "64", "--lengths", "512,512"),
        *("--chip", "v5e", "--only", step, "--gin.DTYPE='bfloat16'", "--out", str(out)),
        PYTHONPATH=os.pathsep.join(p for p in (path, os.environ.get("PYTHONPATH", "")) if p),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["devices"] == "v5e:2x4" and figures["memory_is_exact"]
    [made] = figures["steps"]
    assert made["flops"] == pytest.approx(made["closed_formula_flops"], rel=0.05)
    assert made["fits"] and made["kept_bytes"] < made["memory_bytes"] < 16 * 2**30
    if step == "training":
        # Every gradient is summed over the eight, 7/4 of its bytes: the kernels' in bfloat16, in
        # which they were multiplied, those of embedding and output in float32.
        summed = made["sent_bytes"]["all-reduce"] / (7 / 4 * figures["parameters"])
        assert 2 < summed < 4
