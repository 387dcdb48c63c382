"""FLOPs and transfers, counted of programs whose counts are known."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from t5distill.plan import counting, formula, programs
from t5distill.student import network, sharding, update
from t5distill.student.config import T5Config
from t5distill.student.settings import Settings

X = jax.ShapeDtypeStruct((8, 16), jnp.float32)
W = jax.ShapeDtypeStruct((16, 16), jnp.float32)
ONE = 2 * 8 * 16 * 16


def flops(function, *arguments):
    return counting.matmul_flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def looped(x, w):
    return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=7)[0]


def until(x, w):
    return jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c @ w, x)


def either(x, w):
    return jax.lax.cond(x.sum() > 0, lambda: x @ w @ w, lambda: x @ w)


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (lambda x, w: x @ w, 1),
        (lambda x, w: x + w.sum(), 0),
        (looped, 7),
        (until, 1),
        (either, 2),
        (jax.jit(lambda x, w: jnp.sin(x @ w)), 1),
        (lambda x, w: jax.grad(lambda x: (jnp.sin(x @ w) ** 2).sum())(x), 2),
        (jax.grad(lambda x, w: (jnp.sin(x @ w) ** 2).sum(), argnums=(0, 1)), 3),
    ],
)
def test_products_are_counted_as_often_as_they_run(function, products):
    assert flops(function, X, W) == products * ONE


def test_a_product_over_batches_counts_each():
    batched = jax.ShapeDtypeStruct((3, 8, 16), jnp.float32)
    assert flops(lambda x, w: jnp.einsum("bij,jk->bik", x, w), batched, W) == 3 * ONE


SMALL = {"vocab_size": 512, "emb_dim": 32, "num_heads": 2, "head_dim": 24, "mlp_dim": 80}
SHAPES = {
    "gated": T5Config(**SMALL, num_encoder_layers=2, num_decoder_layers=2),
    "plain, tied": T5Config(
        **SMALL,
        num_encoder_layers=3,
        num_decoder_layers=1,
        mlp_activations=("relu",),
        logits_via_embedding=True,
    ),
    "deep encoder": T5Config(**SMALL, num_encoder_layers=4, num_decoder_layers=1),
    "remat": T5Config(**SMALL, num_encoder_layers=2, num_decoder_layers=2, remat="full"),
}


@functools.cache
def one_device():
    return sharding.make_mesh(1)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("microbatches", [1, 2])
def test_an_update_needs_what_the_closed_formula_says(name, microbatches):
    config = SHAPES[name]
    mesh, settings = one_device(), Settings(train_steps=1, microbatches=microbatches)
    shapes = update.abstract_state(config, settings, mesh)
    lengths = {"encoder_input_tokens": 48, "encoder_segment_ids": 48}
    lengths |= dict.fromkeys(
        ("decoder_input_tokens", "decoder_target_tokens", "decoder_segment_ids"), 40
    )
    batch = {k: jax.ShapeDtypeStruct((8, n), jnp.int32) for k, n in lengths.items()}
    run = update.compile_update(config, settings, mesh, shapes)
    counted = counting.matmul_flops(run.trace(shapes, batch).jaxpr.jaxpr)
    assert counted == pytest.approx(formula.training_flops(config, 8, 48, 40), rel=0.01)


@pytest.mark.parametrize("name", ["gated", "plain, tied"])
def test_a_decoded_token_needs_what_the_closed_formula_says(name):
    config = SHAPES[name]
    made = programs.decoding(config, one_device(), 4, programs.Lengths(40, 70))
    assert made.widths == (128, 64)
    assert made.beside > 4 * formula.parameters(config)["total"]
    assert made.flops == pytest.approx(formula.token_flops(config, 4, 128, 64), rel=0.01)


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_the_network(name):
    config = SHAPES[name]
    shapes = jax.eval_shape(lambda: network.init_parameters(config, 0))
    real = sum(x.size for x in jax.tree.leaves(shapes))
    assert formula.parameters(config)["total"] == real


def test_published_sizes():
    base = T5Config(
        emb_dim=768, num_heads=12, mlp_dim=2048, num_encoder_layers=12, num_decoder_layers=12
    )
    # Hugging Face's google/t5-v1_1-base has 247,577,856 (Raffel et al. speak of 220 million).
    assert formula.parameters(base)["total"] == 247_577_856


@pytest.fixture(scope="module")
def on_eight():
    script = pathlib.Path(__file__).with_name("plan_process.py")
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# A float32 array [64, 64] has 16,384 bytes; the mesh is 4 x 2.
SENT = {
    "sum": ({"all-reduce": 2 * 3 / 4 * 16384 / 4}, {"all-reduce": 1}),
    "permute in a loop": ({"collective-permute": 5 * 16384 / 4}, {"collective-permute": 5}),
    "gather": ({"all-gather": 3 / 4 * 16384}, {"all-gather": 1}),
    "scatter": ({"reduce-scatter": 3 / 4 * 16384}, {"reduce-scatter": 1}),
    "permute": ({"collective-permute": 16384 / 4}, {"collective-permute": 1}),
    "exchange": ({"all-to-all": 3 / 4 * 16384 / 4}, {"all-to-all": 1}),
    "nothing": ({}, {}),
}


@pytest.mark.parametrize("name", SENT)
def test_transfers_of_compiled_programs(on_eight, name):
    assert on_eight["collectives"][name] == list(SENT[name])


def test_what_training_keeps_on_a_device_is_what_it_keeps(on_eight):
    kept = on_eight["kept"]
    assert kept["planned"] == kept["real"] > 0
    assert kept["memory"] > kept["planned"]


def test_what_decoding_keeps_on_a_device_is_what_it_keeps(on_eight):
    decoded = on_eight["decoded"]
    assert decoded["written"] == 16
    assert decoded["widths"] == [128, 64]
    assert decoded["planned"] == decoded["real"] > 0
    # A token of 4 rows: their states are summed after each block, and their tokens are chosen. No
    # matrix is sent, not even the smallest, of 32 x 32.
    assert decoded["sent"]["all-reduce"] > 6 * 4 * 32 * 4
    assert max(decoded["sent"].values()) < 7 * 2 * 4 * 32 * 4
    assert decoded["sent"].get("all-gather", 0) < 32 * 32 * 4 / 2


def test_transfers_as_a_tpu_compiler_writes_them():
    # Lines of what libtpu 0.0.42 wrote of our own steps for v5e, shortened.
    golden = pathlib.Path(__file__).parents[1] / "golden/tpu_collectives.hlo"
    found = counting.transfers(golden.read_text(), 8)
    both = 2 * 8 * 128 * 64 * 2
    assert found.sent == {
        # Four microbatches: two arrays over pairs, and one over the four along an axis.
        "all-reduce": 4 * (2 * 1 / 2 * both + 2 * 3 / 4 * 64 * 4),
        # Decoding's loop ends with the rows; its gather is spread over two operations.
        "all-gather": 3 / 4 * 256 * 32128 * 2 + 3 / 4 * 16 * 128 * 2,
        "collective-permute": 512,
    }
    assert found.calls == {"all-reduce": 8, "all-gather": 2, "collective-permute": 1}
    assert found.total == sum(found.sent.values())


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("{{0,1,2},{3,4,5}}", 3),
        ("[4,2]<=[8]", 2),
        ("mesh['a'=4,'b'=1,'c'=2] {'a'}", 4),
        ("mesh['a'=4,'b'=1,'c'=2] {'a','c'}", 8),
        ("mesh['a'=4,'b'=2], device_ids=([4,2]T(1,0)) {'b'}", 2),
        ("mesh['a'=8] {'a':(2)2}", 2),
        ("{}", 8),
    ],
)
def test_groups_in_every_spelling(groups, size):
    line = f"  %x = f32[64]{{0}} all-gather(%p), replica_groups={groups}, dimensions={{0}}"
    found = counting.transfers(f"ENTRY %main (p: f32[8]) -> f32[8] {{\n{line}\n}}", 8)
    assert found.sent == {"all-gather": (size - 1) / size * 256}


def test_groups_in_a_spelling_that_is_not_known():
    line = "  %x = f32[64]{0} all-gather(%p), replica_groups=<new>, dimensions={0}"
    with pytest.raises(ValueError, match="groups of an unknown form"):
        counting.transfers(f"ENTRY %main (p: f32[8]) -> f32[8] {{\n{line}\n}}", 8)


@pytest.mark.parametrize(
    ("message", "bytes_wanted"),
    [
        ("Ran out of memory in memory space hbm. Used 23.50G of 15.75G hbm.", 23.5 * 2**30),
        ("RESOURCE_EXHAUSTED: Used 900.00M of 512.00M hbm", 900 * 2**20),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (16.43G) exceeds available HBM (15.75G).",
            16.43 * 2**30 + 1e9,
        ),
        ("INTERNAL: something else", None),
    ],
)
def test_what_a_refused_program_wanted(message, bytes_wanted):
    wanted = counting.memory_wanted(message, 1e9)
    assert wanted == (None if bytes_wanted is None else pytest.approx(bytes_wanted))
