"""A checkpoint of Flan-T5 xl's size, random: how much memory its conversion takes."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from t5distill.formats.standin import standin_vocabulary
from t5distill.student.config import T5Config
from t5distill.student.huggingface import config_to_huggingface, name_map, turned_shape
from t5distill.student.network import abstract_model, parameters
from t5distill.student.safetensors import write_arrays
from t5distill.student.weights import open_weights

XL = T5Config(
    vocab_size=32128,
    emb_dim=2048,
    num_heads=32,
    head_dim=64,
    mlp_dim=5120,
    num_encoder_layers=24,
    num_decoder_layers=24,
)
# Above what Python, JAX and TensorFlow take by themselves; the largest array has 263 MB in float32.
MOST_GIB = 2.5
NEEDED_GB = 30


@pytest.mark.soak
def test_xl_is_converted_an_array_at_a_time(tmp_path, capsys):
    if shutil.disk_usage(tmp_path).free < NEEDED_GB * 1e9:
        pytest.fail(f"wanted {NEEDED_GB} GB of free disk in {tmp_path}")
    source = tmp_path / "xl"
    source.mkdir()
    shapes = flatten_dict(parameters(abstract_model(XL)))
    wanted = {name: turned_shape(path, shapes[path].shape) for path, name in name_map(XL).items()}
    rng = np.random.default_rng(0)
    block = rng.normal(0, 0.05, 1 << 20).astype(np.float32)

    def read(name):
        return np.resize(np.roll(block, int(rng.integers(1 << 20))), wanted[name])

    write_arrays(source / "model.safetensors", wanted, "BF16", read)
    (source / "config.json").write_text(json.dumps(config_to_huggingface(XL)))

    def export(checkpoint, out, *more):
        done = subprocess.run(
            [sys.executable, "-m", "t5distill", "export", "--checkpoint", str(checkpoint),
             "--out", str(out), *more],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=3000,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        with capsys.disabled():
            print("\n" + done.stdout.strip())
        return float(done.stdout.rsplit("peak memory ", 1)[1].split()[0])

    assert export(source, tmp_path / "t5x", "--format", "t5x") < MOST_GIB
    assert (
        export(
            tmp_path / "t5x", tmp_path / "hf", "--dtype", "bfloat16", "--vocab", "t5",
            "--vocab_path", str(standin_vocabulary(tmp_path / "v.model")),
        )
        < MOST_GIB
    )  # fmt: skip
    first, second = open_weights(source).arrays, open_weights(tmp_path / "hf").arrays
    assert all(np.array_equal(first[path].read(), second[path].read()) for path in first)
