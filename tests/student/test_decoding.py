"""Slot decoding: what an input yields depends on nothing but itself."""

import functools
import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.student import decoding, slots
from t5distill.student.config import T5Config
from t5distill.student.decoding import generate_tokens, width_bucket
from t5distill.student.network import bind, init_parameters

CONFIG = T5Config(
    vocab_size=40,
    emb_dim=16,
    num_heads=4,
    head_dim=4,
    mlp_dim=24,
    num_encoder_layers=1,
    num_decoder_layers=2,
)
MAX_TOKENS = 20


@functools.cache
def weights(eos_scale=2.0):
    """Random weights: 40 prompts give outputs of 14 lengths, a quarter of them endless."""
    params = init_parameters(CONFIG, 1)
    kernel = params["decoder"]["logits_dense"]["kernel"]
    params["decoder"]["logits_dense"]["kernel"] = kernel.at[:, slots.EOS].multiply(eos_scale)
    for layer in ("layers_0", "layers_1"):
        for part in ("self_attention", "encoder_decoder_attention"):
            params["decoder"][layer][part]["query"]["kernel"] *= 3.0
    return params


def prompts(count, *, longest=12, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest, count)
    return [[*rng.integers(2, CONFIG.vocab_size, n).tolist(), 1] for n in lengths]


def forced(params, inputs, outputs):
    """Teacher-forced logits `[batch, length, vocab]` of outputs, without any cache."""
    length = max(len(output.tokens) for output in outputs) + 1
    encoder = decoding.padded(inputs, len(inputs), max(map(len, inputs)))
    decoder = decoding.padded([[0, *o.tokens] for o in outputs], len(inputs), length)
    return np.asarray(bind(CONFIG, params)(encoder, decoder))


def assert_greedy(params, inputs, outputs, max_tokens):
    """Every token is the teacher-forced best one, and every output ends where it has to."""
    first = [output for [output] in outputs]
    logits = forced(params, inputs, first)
    for output, row in zip(first, logits, strict=True):
        wanted = [*output.tokens, slots.EOS] if output.finished else output.tokens
        assert row.argmax(-1)[: len(wanted)].tolist() == wanted
        assert slots.EOS not in output.tokens
        assert output.finished or len(output.tokens) == max_tokens


def test_cached_logits_equal_teacher_forced_ones():
    """Rows that start at different times, in a ring full of rubbish, wrapping around twice."""
    params, ring, length = weights(), 16, 12
    rng = np.random.default_rng(0)
    inputs = prompts(3)
    tokens = rng.integers(2, CONFIG.vocab_size, (3, length)).astype(np.int32)
    wanted = np.asarray(
        bind(CONFIG, params)(
            decoding.padded(inputs, 3, 32), np.pad(tokens, ((0, 0), (1, 0)))[:, :-1]
        )
    )
    encoded = slots.encode(params, decoding.padded(inputs, 3, 32), config=CONFIG, mesh=None)
    state = slots.empty(config=CONFIG, mesh=None, rows=3, width=32, ring=ring)
    rubbish = jax.tree.map(lambda x: x + 7.0, state.cache)
    state = state._replace(cache=rubbish, clock=jnp.int32(13))
    step = jax.jit(lambda state: slots.next_logits(bind(CONFIG, params), state))
    found = np.zeros_like(wanted)
    starts = [0, 5, 8]
    for time in range(max(starts) + length):
        for row, start in enumerate(starts):
            if time == start:
                state = slots.admit(
                    state,
                    encoded,
                    np.asarray([row, 99, 99], np.int32),
                    np.full(3, row, np.int32),
                    np.zeros((2, 3), np.int32),
                    np.uint32(0),
                    mesh=None,
                )
        logits, cache = step(state)
        fed = np.asarray(state.token).copy()
        for row, start in enumerate(starts):
            if 0 <= time - start < length:
                found[row, time - start] = logits[row]
                fed[row] = tokens[row, time - start]
        state = state._replace(
            cache=cache, token=jnp.asarray(fed), position=state.position + 1, clock=state.clock + 1
        )
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_greedy_is_the_teacher_forced_best():
    inputs = prompts(40)
    outputs = generate_tokens(weights(), CONFIG, inputs, max_tokens=MAX_TOKENS, slots=8)
    assert_greedy(weights(), inputs, outputs, MAX_TOKENS)
    lengths = {len(output.tokens) for [output] in outputs}
    assert len(lengths) > 5 and any(o.finished for [o] in outputs)


@pytest.mark.parametrize(("count", "swap"), [(3, True), (64, True), (8, False)])
def test_slots_and_swapping_change_nothing(count, swap):
    inputs = prompts(40)
    wanted = generate_tokens(weights(), CONFIG, inputs, max_tokens=MAX_TOKENS, slots=8)
    found = generate_tokens(
        weights(), CONFIG, inputs, max_tokens=MAX_TOKENS, slots=count, swap=swap
    )
    assert found == wanted


def test_long_and_short_inputs_and_outputs_mixed():
    """The encoder's width shrinks, the ring grows, the last rows move: all in one run."""
    inputs = prompts(30, longest=12) + prompts(12, longest=60, seed=1)
    long = generate_tokens(weights(), CONFIG, inputs, max_tokens=90, slots=12)
    assert_greedy(weights(), inputs, long, 90)
    assert any(len(output.tokens) > 64 for [output] in long)
    assert sum(len(output.tokens) < 30 for [output] in long) > 5


def test_rows_that_never_end():
    inputs = prompts(5)
    outputs = generate_tokens(weights(0.0), CONFIG, inputs, max_tokens=70, slots=4)
    assert all(len(o.tokens) == 70 and not o.finished for [o] in outputs)
    assert_greedy(weights(0.0), inputs, outputs, 70)


@pytest.mark.parametrize("limit", [1, 2, 16, 17])
def test_the_limit(limit):
    inputs = prompts(12)
    whole = generate_tokens(weights(), CONFIG, inputs, max_tokens=MAX_TOKENS, slots=8)
    cut = generate_tokens(weights(), CONFIG, inputs, max_tokens=limit, slots=8)
    for [short], [long] in zip(cut, whole, strict=True):
        assert short.tokens == long.tokens[:limit]
        # EOS counts as a token: it has to come within the limit.
        assert short.finished == (long.finished and len(long.tokens) < limit)


def test_no_inputs_and_bad_ones():
    assert generate_tokens(weights(), CONFIG, [], max_tokens=4) == []
    with pytest.raises(ValueError, match="input 1 is empty"):
        generate_tokens(weights(), CONFIG, [[1], []], max_tokens=4)
    for settings in ({"max_tokens": 0}, {"num_samples": 0}, {"beam_size": 0}):
        with pytest.raises(UserError, match="wanted at least 1"):
            generate_tokens(weights(), CONFIG, [[1]], **{"max_tokens": 4, **settings})
    with pytest.raises(UserError, match="beam search gives"):
        generate_tokens(weights(), CONFIG, [[1]], max_tokens=4, beam_size=2, num_samples=3)


def test_samples_share_one_encoder_pass(monkeypatch):
    encoded = []
    encode = slots.encode

    def counting(params, tokens, **kwargs):
        encoded.append(int((tokens != 0).any(1).sum()))
        return encode(params, tokens, **kwargs)

    monkeypatch.setattr(slots, "encode", counting)
    inputs = prompts(7)
    sample = functools.partial(
        generate_tokens, weights(), CONFIG, max_tokens=MAX_TOKENS, temperature=1.0, num_samples=6
    )
    outputs = sample(inputs, slots=8)
    assert sum(encoded) == 7
    assert all(len(row) == 6 for row in outputs)
    assert all(len({tuple(o.tokens) for o in row}) > 1 for row in outputs)
    # Neither slots, nor order, nor what else is decoded changes a text, nor how many samples.
    assert sample(inputs, slots=5) == outputs
    some = [5, 2]
    assert sample([inputs[i] for i in some], indices=some, slots=8) == [outputs[i] for i in some]
    fewer = generate_tokens(
        weights(), CONFIG, inputs, max_tokens=MAX_TOKENS, temperature=1.0, num_samples=2, slots=8
    )
    assert fewer == [row[:2] for row in outputs]
    assert sample(inputs, slots=8, seed=1) != outputs


def test_greedy_samples_are_copies():
    [[a, b]] = generate_tokens(weights(), CONFIG, prompts(1), max_tokens=6, num_samples=2)
    assert a == b


@pytest.mark.parametrize("beam_size", [1, 2])
def test_progress_reports_every_input_once(beam_size):
    inputs, seen = prompts(9), {}

    def progress(i, outputs):
        assert i not in seen
        seen[i] = outputs

    outputs = generate_tokens(
        weights(),
        CONFIG,
        inputs,
        max_tokens=MAX_TOKENS,
        slots=8,
        beam_size=beam_size,
        progress=progress,
    )
    assert [seen[i] for i in range(9)] == outputs


def test_bfloat16_follows_float32():
    config = T5Config(**{**CONFIG.to_dict(), "dtype": "bfloat16"})
    outputs = generate_tokens(weights(), config, prompts(16), max_tokens=MAX_TOKENS, slots=16)
    wanted = generate_tokens(weights(), CONFIG, prompts(16), max_tokens=MAX_TOKENS, slots=16)
    # The first token rarely hangs on the third digit; later ones follow from it.
    assert (
        sum(a[0].tokens[:1] == b[0].tokens[:1] for a, b in zip(outputs, wanted, strict=True)) >= 14
    )


def test_width_buckets():
    widths = [width_bucket(n) for n in range(1, 1025)]
    fine = [32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512]
    assert sorted(set(widths)) == [*fine, 640, 768, 896, 1024]
    assert all(width >= n for n, width in enumerate(widths, start=1))


def test_width_buckets_are_few_where_compiling_is_slow(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    widths = [width_bucket(n) for n in range(1, 1025)]
    assert sorted(set(widths)) == [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
    assert all(width >= n for n, width in enumerate(widths, start=1))


SCRIPT = pathlib.Path(__file__).parent / "decode_process.py"


def run_script(*arguments, devices):
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def results(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def test_meshes_of_eight_devices_give_the_same_tokens():
    found = results(run_script("1x1", "8x1", "4x2", "2x4", devices=8))
    assert set(found) == {"1x1", "8x1", "4x2", "2x4"}
    for kind in ("greedy", "sample", "beam"):
        assert len({json.dumps(result[kind]) for result in found.values()}) == 1, kind


def test_meshes_and_processes_calculate_alike():
    found = results(run_script("1x1", "8x1", "4x2", "--calculator", devices=8))
    for kind in ("greedy", "sample"):
        assert len({json.dumps(result[kind]) for result in found.values()}) == 1, kind
    rows = [row for outputs in found["1x1"]["sample"] for row in outputs]
    assert sum(row[1] for row in rows) > 20 and sum(row[2] for row in rows) > 10
    pair = run_pair("--calculator")
    assert pair[0] == pair[1] and pair[0]["2x2"] == found["1x1"]


def run_pair(*arguments):
    """Run the script in two processes that share a mesh of 2 x 2 devices."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    pair = [run_script("2x2", "--process", i, "--port", port, *arguments, devices=2) for i in "01"]
    return [results(process) for process in pair]


def test_two_processes_give_the_same_tokens():
    first, second = run_pair()
    assert first == second
    alone = results(run_script("1x1", devices=1))
    assert first["2x2"] == alone["1x1"]
