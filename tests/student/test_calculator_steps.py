"""The calculator one step at a time, as T5X's loop asks for it, against our own decoding."""

import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from equations import BYTES, TEXTS, Joined, network, prompts
from jax.sharding import PartitionSpec

from t5distill.formats import vocabulary as vocabularies
from t5distill.formats.train_vocabulary import train_sentencepiece
from t5distill.student import calculator_steps
from t5distill.student.calculator import Calculator
from t5distill.student.calculator_steps import Steps, choose, only
from t5distill.student.decoding import generate_tokens
from t5distill.student.network import bind

MAX_TOKENS = 40
COUNT = 16


@functools.cache
def ours(vocabulary):
    """Return what our own engine decodes with the calculator, without EOS."""
    params, config = network(vocabulary)
    calculator = Calculator(vocabulary, config.vocab_size)
    outputs = generate_tokens(
        params, config, prompts(config, COUNT), calculator=calculator, max_tokens=MAX_TOKENS
    )
    assert sum(o.forced for [o] in outputs) > 10 and sum(o.changed for [o] in outputs) > 5
    return [o.tokens for [o] in outputs]


def loop(vocabulary, ask, *, temperature=0.0, mesh=None):
    """Decode greedily as T5X does: the whole row at every step, a callback before each token."""
    params, config = network(vocabulary)
    masks = Calculator(vocabulary, config.vocab_size).masks
    encoder = np.zeros((COUNT, 16), np.int32)
    for row, prompt in zip(encoder, prompts(config, COUNT), strict=True):
        row[: len(prompt)] = prompt

    def host(rows, lengths, choices):
        shape = jax.ShapeDtypeStruct(lengths.shape, "int32")
        return jax.pure_callback(ask, shape, rows, lengths, choices)

    if mesh is not None:
        spread = PartitionSpec("data")
        host = jax.shard_map(host, mesh=mesh, in_specs=spread, out_specs=spread, check_vma=False)

    @jax.jit
    def run(params, encoder):
        def body(i, state):
            sequences, ended, key = state
            logits = bind(config, params)(encoder, sequences[:, :-1])[:, i]
            key, own = jax.random.split(key)
            choices = choose(masks, logits, own, temperature)
            length = jnp.full((COUNT,), i, jnp.int32)
            logits = only(host(sequences[:, 1:], length, choices), logits)
            token = jnp.where(ended, 0, jnp.argmax(logits, axis=-1)).astype(jnp.int32)
            return sequences.at[:, i + 1].set(token), ended | (token == 1), key

        start = (jnp.zeros((COUNT, MAX_TOKENS + 1), jnp.int32), jnp.zeros(COUNT, bool),
                 jax.random.key(0))  # fmt: skip
        return jax.lax.fori_loop(0, MAX_TOKENS, body, start)[0]

    rows = np.asarray(run(params, encoder))[:, 1:].tolist()
    return [row[: row.index(1)] if 1 in row else row for row in rows]


def steps_of(vocabulary):
    return Steps(Calculator(vocabulary, network(vocabulary)[1].vocab_size))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "pieces.model"
    train_sentencepiece(TEXTS, path, vocab_size=280, split_digits=False)
    return vocabularies.load("t5", path)


def test_greedy_texts_are_those_of_our_own_engine(pieces):
    for vocabulary in (BYTES, pieces):
        assert loop(vocabulary, steps_of(vocabulary).tokens) == ours(vocabulary)


EIGHT = """
import jax
import numpy as np
from equations import BYTES
from jax.sharding import Mesh
import test_calculator_steps as here

steps, sizes = here.steps_of(BYTES), set()

def ask(rows, lengths, choices):
    sizes.add(len(lengths))
    return steps.tokens(rows, lengths, choices)

mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
assert here.loop(BYTES, ask, mesh=mesh) == here.ours(BYTES)
assert sizes == {here.COUNT // 4}, sizes
"""


def test_eight_devices_ask_for_their_own_rows():
    folder = pathlib.Path(__file__).parent
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", EIGHT],
        env={
            **os.environ,
            "XLA_FLAGS": flags,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": f"{folder}{os.pathsep}{folder.parents[1]}",
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_forgetful_one_writes_the_same(monkeypatch):
    monkeypatch.setattr(calculator_steps, "_REMEMBERED", 5)
    steps = steps_of(BYTES)

    def ask(rows, lengths, choices):
        again = steps.tokens(rows[::-1], lengths[::-1], choices[::-1])[::-1]
        found = steps.tokens(rows, lengths, choices)
        np.testing.assert_array_equal(found, again)
        return found

    assert loop(BYTES, ask) == ours(BYTES)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("vocabulary", [BYTES, Joined()], ids=["bytes", "joined"])
def test_every_equation_is_true(vocabulary, temperature):
    rows = loop(vocabulary, steps_of(vocabulary).tokens, temperature=temperature)
    assert len({tuple(row) for row in rows}) > 8
    rules = Calculator(vocabulary, network(vocabulary)[1].vocab_size)
    right = 0
    for ids in rows:
        for i in range(1, len(ids)):
            due = rules.due(ids[:i]).tokens
            # A sign or an annotation may come first.
            if due and not rules.opens[ids[i]]:
                left = tuple(ids[i : i + len(due)])
                assert left == due[: len(left)], vocabulary.decode(ids)
                right += 1
    assert right > 10


def test_a_beginning_that_breaks_the_rules_is_taken_as_it_is():
    steps = steps_of(BYTES)
    ids = BYTES.encode("3 + 4 = 9. Then 2 * 3 =")
    row = np.array([ids], np.int32)
    token = steps.tokens(row, np.array([len(ids)]), np.full((1, 4), 70, np.int32))
    assert BYTES.decode(token) == " "
    done = np.array([[*ids, 1, 0]], np.int32)
    assert steps.tokens(done, np.array([len(ids) + 2]), np.full((1, 4), 70, np.int32)) == [70]
