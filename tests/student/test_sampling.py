"""The choice of tokens: distributions, truncation, keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from t5distill.errors import UserError
from t5distill.student.sampling import Sampling, choose, row_keys, truncated


def keys_of(count, seed=0):
    return row_keys(jnp.uint32(seed), jnp.arange(count), jnp.zeros(count, jnp.int32))


def draws(logits, sampling, count, seed=0):
    rows = jnp.broadcast_to(jnp.asarray(logits, jnp.float32), (count, len(logits)))
    return np.asarray(choose(rows, sampling, keys_of(count, seed), jnp.zeros(count, jnp.int32)))


def test_temperature_zero_takes_the_largest_and_of_equals_the_first():
    logits = jnp.asarray([[0.0, 3.0, 3.0], [5.0, -1.0, 2.0]])
    found = choose(logits, Sampling(top_k=2, top_p=0.1), keys_of(2), jnp.zeros(2, jnp.int32))
    assert found.tolist() == [1, 0]


@pytest.mark.parametrize("vocab", [7, 128, 300])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(vocab, temperature):
    logits = np.random.default_rng(vocab).normal(0, 1.5, vocab)
    count = 20_000
    found = np.bincount(draws(logits, Sampling(temperature=temperature), count), minlength=vocab)
    wanted = np.asarray(jax.nn.softmax(jnp.asarray(logits) / temperature)) * count
    # Rare tokens are judged together, as the test wants at least five expected in a cell.
    common = wanted >= 5
    cells = [(found[common], wanted[common])]
    if (~common).any():
        cells.append(([found[~common].sum()], [wanted[~common].sum()]))
    found, wanted = (np.concatenate(part).astype(float) for part in zip(*cells, strict=True))
    assert stats.chisquare(found, wanted * found.sum() / wanted.sum()).pvalue > 1e-4


def test_tokens_of_probability_zero_are_never_drawn():
    logits = np.full(260, -np.inf)
    logits[[5, 200]] = 0.0
    assert set(draws(logits, Sampling(temperature=1.0), 2000)) == {5, 200}
    only_last = np.full(260, -np.inf)
    only_last[259] = 0.0
    assert set(draws(only_last, Sampling(temperature=1.0), 500)) == {259}


def kept(logits, **settings):
    found = truncated(jnp.asarray(logits, jnp.float32)[None], Sampling(temperature=1.0, **settings))
    return set(np.flatnonzero(np.isfinite(found[0])).tolist())


@pytest.mark.parametrize("seed", range(5))
def test_top_k_keeps_the_k_largest(seed):
    logits = np.random.default_rng(seed).normal(0, 3, 50).astype(np.float32)
    order = np.argsort(-logits)
    for k in (1, 2, 7, 49, 50, 1000):
        assert kept(logits, top_k=k) == set(order[:k].tolist())
    assert kept(logits) == set(range(50))


def test_top_k_keeps_ties():
    assert kept([1.0, 2.0, 2.0, 0.0], top_k=1) == {1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_top_p_keeps_the_smallest_sufficient_set(seed):
    logits = np.random.default_rng(seed).normal(0, 2, 40).astype(np.float32)
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    order = np.argsort(-logits)
    mass = np.cumsum(probabilities[order])
    for p in (1e-6, 0.1, 0.5, 0.9, 0.99):
        count = int(np.argmax(mass >= p)) + 1
        assert kept(logits, top_p=p) == set(order[:count].tolist())


def test_top_p_counts_within_top_k():
    # Within the two largest the first has 0.6; among all four only 0.4.
    logits = np.log([0.4, 0.27, 0.2, 0.13])
    assert kept(logits, top_k=2, top_p=0.55) == {0}
    assert kept(logits, top_p=0.55) == {0, 1}


def test_draws_depend_on_seed_example_sample_and_position_only():
    logits = jnp.zeros((4, 1000))
    sampling = Sampling(temperature=1.0)
    keys = row_keys(jnp.uint32(0), jnp.asarray([4, 4, 5, 4]), jnp.asarray([0, 1, 0, 0]))
    positions = jnp.asarray([2, 2, 2, 3])
    found = choose(logits, sampling, keys, positions).tolist()
    assert len(set(found)) == 4
    shuffled = jnp.asarray([2, 0, 3, 1])
    again = choose(logits, sampling, keys[shuffled], positions[shuffled]).tolist()
    assert again == [found[i] for i in shuffled]
    other = row_keys(jnp.uint32(4), jnp.asarray([4]), jnp.asarray([0]))
    assert choose(logits[:1], sampling, other, positions[:1]).tolist() != found[:1]


@pytest.mark.parametrize(
    "settings", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_settings_out_of_range(settings):
    with pytest.raises(UserError):
        Sampling(**settings)
