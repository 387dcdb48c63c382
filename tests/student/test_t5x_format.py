"""T5X's checkpoints: every layout is read, damage is named, what is written reads back."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath
from flax import serialization

from t5distill import Student
from t5distill.errors import UserError
from t5distill.student import t5x_format
from t5distill.student.config import T5Config
from t5distill.student.network import init_parameters
from t5distill.student.weights import open_weights, read_all

CONFIG = T5Config(
    vocab_size=384,
    emb_dim=8,
    num_heads=2,
    head_dim=6,
    mlp_dim=16,
    num_encoder_layers=1,
    num_decoder_layers=2,
)
LAYOUTS = ("orbax", "msgpack", "zarr")
ENCODER = np.array([[5, 6, 1], [7, 1, 0]])
DECODER = np.array([[0, 9, 8], [0, 4, 1]])


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(np.asarray, init_parameters(CONFIG, jax.random.key(0)))


@pytest.fixture(scope="module")
def layouts(params, tmp_path_factory):
    """The same parameters in each of T5X's layouts."""
    root = tmp_path_factory.mktemp("layouts")
    state = {"step": np.int32(7), "param_states": {}}
    saver = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
    tree = ocp.args.PyTreeSave({"target": params, "state": state})
    saver.save(root / "orbax/checkpoint_7", args=ocp.args.Composite(state=tree))
    saver.wait_until_finished()
    saver.close()
    packed = {"version": 3, "optimizer": {"target": params, "state": state}}
    (root / "msgpack").mkdir()
    (root / "msgpack/checkpoint_7").write_bytes(serialization.to_bytes(packed))
    arrays = open_weights(root / "orbax/checkpoint_7").arrays
    (root / "zarr/checkpoint_7").mkdir(parents=True)
    t5x_format.write(epath.Path(root / "zarr/checkpoint_7"), arrays, step=7)
    return root


def assert_same(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(layouts, params, layout):
    for path in (layouts / layout / "checkpoint_7", layouts / layout):
        weights = open_weights(path)
        assert (weights.kind, weights.step, weights.config) == ("t5x", 7, CONFIG)
        assert_same(weights.load(None), params)


ONTO_DEVICES = """
import sys
import jax, numpy as np
from t5distill.student.network import abstract_model, parameters
from t5distill.student.sharding import make_mesh, parameter_shardings
from t5distill.student.weights import open_weights

for path in sys.argv[1:]:
    weights = open_weights(path)
    shapes = parameters(abstract_model(weights.config))
    wanted = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        shapes,
        parameter_shardings(make_mesh(2), shapes),
    )
    loaded = weights.load(wanted)
    assert jax.tree.map(lambda x: x.sharding, loaded) == jax.tree.map(lambda x: x.sharding, wanted)
    jax.tree.map(np.testing.assert_array_equal, weights.load(None), loaded)
print(jax.device_count(), "devices")
"""


def test_every_layout_is_read_onto_devices(layouts):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", ONTO_DEVICES, *(str(layouts / p) for p in LAYOUTS)],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "8 devices\n"


def test_a_student_reads_them(layouts):
    found = [
        Student.load(layouts / layout, vocabulary="byt5").logits(ENCODER, DECODER)
        for layout in LAYOUTS
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert isinstance(Student.load(layouts / "zarr", otherwise="byt5").encode("a"), list)
    with pytest.raises(UserError, match="does not say which vocabulary"):
        Student.load(layouts / "zarr").encode("a")


def test_which_step(layouts):
    assert open_weights(layouts / "zarr", 7).step == 7
    for step in (8, "best"):
        with pytest.raises(UserError, match=rf"no T5X checkpoint of step {step}; have \[7\]"):
            open_weights(layouts / "zarr", step)


def test_part_of_an_array(layouts, params):
    for layout in LAYOUTS:
        array = open_weights(layouts / layout).arrays["token_embedder", "embedding"]
        part = array.read((slice(3, 5), slice(None)))
        np.testing.assert_array_equal(part, params["token_embedder"]["embedding"][3:5])


def copied(layouts, layout, tmp_path):
    shutil.copytree(layouts / layout, tmp_path / layout)
    return tmp_path / layout / "checkpoint_7"


def test_copies_that_lack_hidden_files(layouts, params, tmp_path):
    path = copied(layouts, "zarr", tmp_path)
    for hidden in list(path.rglob(".zarray")):
        hidden.unlink()
    assert_same(open_weights(path).load(None), params)


def test_a_lost_file_is_no_zeros(layouts, tmp_path):
    path = copied(layouts, "zarr", tmp_path)
    (path / "target.decoder.layers_1.mlp.wo.kernel/0.0").unlink()
    with pytest.raises(UserError, match=r"array decoder/layers_1/mlp/wo/kernel cannot be read"):
        open_weights(path).load(None)
    path = copied(layouts, "zarr", tmp_path / "again")
    shutil.rmtree(path / "target.encoder.encoder_norm.scale")
    with pytest.raises(UserError, match=r"array encoder/encoder_norm/scale cannot be read"):
        open_weights(path).load(None)


def test_a_file_that_was_cut_off(layouts, tmp_path):
    path = copied(layouts, "msgpack", tmp_path)
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="checkpoint_7"):
            open_weights(path)
    zarr = copied(layouts, "zarr", tmp_path)
    whole = (zarr / "checkpoint").read_bytes()
    (zarr / "checkpoint").write_bytes(whole[:100])
    with pytest.raises(UserError, match="not a T5X checkpoint, or cut off"):
        open_weights(zarr)


def test_orbax_that_lost_its_data(layouts, tmp_path):
    path = copied(layouts, "orbax", tmp_path)
    for data in path.glob("state/**/d/*"):
        data.unlink()
    with pytest.raises(UserError, match="no tree of parameters there: NOT_FOUND"):
        open_weights(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("encoder"), "no array encoder/relpos_bias/rel_embedding"),
        (lambda t: t["decoder"].pop("layers_1"), None),
        (
            lambda t: t["decoder"]["layers_1"]["mlp"].pop("wo"),
            r"decoder/layers_1/mlp/wo/kernel is missing there and \(16, 8\) here",
        ),
        (
            lambda t: t["decoder"]["decoder_norm"].update(scale=np.ones(9, np.float32)),
            r"decoder/decoder_norm/scale is \(9,\) there and \(8,\) here",
        ),
        (lambda t: t["decoder"]["decoder_norm"].update(scale=3.0), "wanted an array"),
    ],
)
def test_other_networks(layouts, tmp_path, change, said):
    tree = serialization.msgpack_restore((layouts / "msgpack/checkpoint_7").read_bytes())
    change(tree["optimizer"]["target"])
    path = tmp_path / "checkpoint_7"
    path.write_bytes(serialization.msgpack_serialize(tree))
    if said is None:  # a network of one layer less is a network
        assert open_weights(path).config.num_decoder_layers == 1
        return
    with pytest.raises(UserError, match=said):
        open_weights(path)


def test_where_an_array_lies_cannot_lead_elsewhere(layouts, tmp_path):
    path = copied(layouts, "zarr", tmp_path)
    tree = serialization.msgpack_restore((path / "checkpoint").read_bytes())
    leaf = tree["optimizer"]["target"]["encoder"]["encoder_norm"]["scale"]
    (tmp_path / "elsewhere").mkdir()
    leaf["kvstore"]["path"] = "../../elsewhere/"
    (path / "checkpoint").write_bytes(serialization.msgpack_serialize(tree))
    with pytest.raises(UserError, match="encoder_norm/scale cannot be read"):
        open_weights(path).load(None)


def test_bfloat16_on_disk(layouts, params, tmp_path):
    path = epath.Path(tmp_path / "checkpoint_3")
    path.mkdir()
    t5x_format.write(path, open_weights(layouts / "zarr").arrays, step=3, dtype="bfloat16")
    weights = open_weights(path)
    assert {a.dtype.name for a in weights.arrays.values()} == {"bfloat16"}
    loaded = weights.load(None)["token_embedder"]["embedding"]
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded, params["token_embedder"]["embedding"], rtol=2**-8)


REAL = os.environ.get("T5DISTILL_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="T5DISTILL_REAL_DATA is not set")
def test_real_ones():
    root = pathlib.Path(REAL or "", "t5x_checkpoints")
    weights = open_weights(root / "test_t5_tiny.checkpoint_0")
    config = weights.config
    assert (config.emb_dim, config.num_heads, config.head_dim, config.mlp_dim) == (8, 4, 3, 16)
    assert (config.num_encoder_layers, config.num_decoder_layers) == (2, 2)
    assert not config.logits_via_embedding and weights.step == 0
    logits = Student.load(root / "test_t5_tiny.checkpoint_0").logits(ENCODER, DECODER)
    assert logits.shape == (2, 3, 32128) and np.isfinite(logits).all()
    with pytest.raises(UserError, match="holds no parameters"):
        open_weights(root / "tiny_t5/checkpoint_1")
    # Its arrays are the optimizer's: the same kind of leaf as a parameter's.
    file = epath.Path(root / "tiny_t5/checkpoint_1/checkpoint")
    tree = serialization.msgpack_restore(file.read_bytes())["optimizer"]["state"]["param_states"]
    arrays = {name: t5x_format.from_leaf(file, (name,), leaf) for name, leaf in tree.items()
              if isinstance(leaf, dict)}  # fmt: skip
    assert {n: a.shape for n, a in arrays.items()} == {"bias": (5,), "kernel": (10, 5), "step": ()}
    assert read_all({(n,): a for n, a in arrays.items()}, None, root)["kernel"].std() > 0
