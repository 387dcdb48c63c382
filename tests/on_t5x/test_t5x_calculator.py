"""T5X infers with the calculator what our own engine infers with it, in one process and in two."""

import importlib.util
import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import small_network
from etils import epath
from flax.traverse_util import flatten_dict

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("t5x") is None, reason="T5X is not installed (docs/t5x.md)"
)

ROOT = pathlib.Path(__file__).parents[2]
TOGETHER = (
    "import jax, runpy, sys; port, index = sys.argv[1:3]; del sys.argv[1:3]; "
    "jax.distributed.initialize(f'127.0.0.1:{port}', 2, int(index)); "
    "runpy.run_module('t5x.infer', run_name='__main__', alter_sys=True)"
)
MAX_TOKENS = 48


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A network that writes equations, as a T5X checkpoint, with its macros and environment."""
    sys.path.insert(0, str(ROOT / "tests" / "student"))
    from equations import BYTES, network

    from t5distill.student import t5x_format
    from t5distill.student.stored import Stored

    root = tmp_path_factory.mktemp("calculator")
    params, config = network(BYTES)
    arrays = {
        path: Stored(str(path), a.shape, a.dtype, np.asarray(a).__getitem__)
        for path, a in flatten_dict(jax.tree.map(np.asarray, params)).items()
    }
    folder = root / "checkpoint_7"
    folder.mkdir()
    t5x_format.write(epath.Path(folder), arrays, step=7)
    macros = {
        **small_network.BYTES,
        "VOCAB_SIZE": config.vocab_size,
        "EMB_DIM": config.emb_dim,
        "NUM_HEADS": config.num_heads,
        "HEAD_DIM": config.head_dim,
        "MLP_DIM": config.mlp_dim,
        "NUM_ENCODER_LAYERS": config.num_encoder_layers,
        "NUM_DECODER_LAYERS": config.num_decoder_layers,
        "LOGITS_VIA_EMBEDDING": False,
        "MIXTURE_OR_TASK_NAME": "'embedded_cot'",
        "TASK_FEATURE_LENGTHS": f"{{'inputs': 384, 'targets': {MAX_TOKENS}}}",
        "BATCH_SIZE": 4,
        "CHECKPOINT_PATH": f"'{folder}'",
    }
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = small_network.environment(root, train=4, validation=4, test=24)
    return folder, macros, {**environment, "PYTHONPATH": path}


def command(start, macros):
    return [
        *(sys.executable, *start, f"--gin_search_paths={ROOT}", "--gin_file=gin/t5x/infer.gin"),
        *("--gin_file=gin/models/tiny.gin", "--gin_file=gin/recipes/quickstart_cot.gin"),
        *(f"--gin.{name}={value}" for name, value in macros.items()),
    ]


def infer(student, out, *, processes=1, code=0, **more):
    """Infer with T5X; return inputs and outputs by problem, or what it said of its failure."""
    _, macros, environment = student
    macros = {**macros, "INFER_OUTPUT_DIR": f"'{out}'", **more}
    starts = [["-m", "t5x.infer"]]
    if processes == 2:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        starts = [["-c", TOGETHER, port, str(i)] for i in range(2)]
    running = [
        subprocess.Popen(command(start, macros), cwd=ROOT, env=environment, text=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for start in starts
    ]  # fmt: skip
    said = [process.communicate(timeout=500)[1] for process in running]
    if code:
        assert running[0].returncode
        return said[0]
    assert not any(process.returncode for process in running), said[0][-3000:]
    [path] = pathlib.Path(out).glob("*-predict.jsonl-00000-of-00001")
    rows = map(json.loads, path.read_text().splitlines())
    return {row["inputs"]["inputs_pretokenized"]: row["prediction"] for row in rows}


@pytest.fixture(scope="module")
def calculated(student, tmp_path_factory):
    return infer(student, tmp_path_factory.mktemp("one"), CALCULATOR=True)


def test_both_engines_write_the_same(student, calculated, tmp_path):
    from t5distill import Student

    loaded = Student.load(student[0], vocabulary="byt5")
    settings = {"max_tokens": MAX_TOKENS, "calculator": True}
    ours = [row[0] for row in loaded.generate(list(calculated), **settings)]
    assert [p.text for p in ours] == list(calculated.values())
    assert sum(p.meta["calculator"]["changed"] for p in ours) > 3
    assert infer(student, tmp_path) != calculated


def test_two_processes_write_the_same(student, calculated, tmp_path):
    assert infer(student, tmp_path, processes=2, CALCULATOR=True) == calculated


def test_samples_hold_true_equations(student, tmp_path):
    from t5distill.verify.calculator import check_steps

    sampled = {"CALCULATOR": True, "DECODING": "'sample'", "TEMPERATURE": 1.0}
    texts = infer(student, tmp_path, **sampled).values()
    assert len(set(texts)) == len(texts)
    steps = [step for text in texts for step in check_steps(text)]
    assert steps and all(step.ok for step in steps), (steps, list(texts))


def test_no_calculator_for_beams(student, tmp_path):
    said = infer(student, tmp_path, code=1, CALCULATOR=True, DECODING="'beam'")
    assert "CALCULATOR is True, wanted False with DECODING 'beam'" in said
