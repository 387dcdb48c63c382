"""Beam search against enumeration of every sequence, and against greedy decoding."""

import itertools

import jax
import numpy as np
import pytest

from t5distill.student import decoding
from t5distill.student.beam import beam_search, brevity_penalty
from t5distill.student.config import T5Config
from t5distill.student.decoding import generate_tokens
from t5distill.student.network import bind, init_parameters
from t5distill.student.slots import EOS

CONFIG = T5Config(
    vocab_size=4,
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    mlp_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
)
LENGTH = 3
PARAMS = init_parameters(CONFIG, 3)
INPUTS = [[2, 3, 1], [3, 3, 2, 2, 1], [1]]


def enumerated(tokens, alpha):
    """Every sequence of up to LENGTH tokens with its score: ended ones first, best first."""
    sequences = [
        (*head, EOS) for n in range(LENGTH) for head in itertools.product((0, 2, 3), repeat=n)
    ] + list(itertools.product((0, 2, 3), repeat=LENGTH))
    decoder = decoding.padded([(0, *s[:-1]) for s in sequences], len(sequences), LENGTH)
    encoder = np.repeat([tokens], len(sequences), axis=0).astype(np.int32)
    log_probs = np.asarray(jax.nn.log_softmax(bind(CONFIG, PARAMS)(encoder, decoder)))
    scored = []
    for sequence, row in zip(sequences, log_probs, strict=True):
        total = sum(row[i, token] for i, token in enumerate(sequence))
        score = total / ((5 + len(sequence)) / 6) ** alpha
        scored.append((sequence[-1] != EOS, -score, sequence))
    return sorted(scored)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_wide_beam_finds_the_enumerated_order(alpha):
    tokens = decoding.padded(INPUTS, 4, 8)
    found, scores, ended = beam_search(
        PARAMS, tokens, config=CONFIG, mesh=None, beam_size=40, max_tokens=LENGTH, alpha=alpha
    )
    for i, row in enumerate(INPUTS):
        wanted = enumerated(row, alpha)
        for beam, (unfinished, negative, sequence) in enumerate(wanted[:40]):
            assert bool(ended[i, beam]) is not unfinished
            assert found[i, beam].tolist() == [*sequence, *[0] * (LENGTH - len(sequence))]
            np.testing.assert_allclose(scores[i, beam], -negative, atol=1e-4)


def test_the_penalty_prefers_longer_sequences():
    assert float(brevity_penalty(1, 0.6)) == pytest.approx(1.0)
    assert float(brevity_penalty(13, 0.6)) == pytest.approx(3.0**0.6)


def test_batches_change_nothing():
    rng = np.random.default_rng(0)
    inputs = [[*rng.integers(2, 4, rng.integers(1, 40)).tolist(), 1] for _ in range(7)]
    run = {"max_tokens": 8, "beam_size": 3, "num_samples": 3}
    together = generate_tokens(PARAMS, CONFIG, inputs, slots=24, **run)
    assert generate_tokens(PARAMS, CONFIG, inputs, slots=6, **run) == together
    assert all(len({(*o.tokens, o.finished) for o in row}) == 3 for row in together)
