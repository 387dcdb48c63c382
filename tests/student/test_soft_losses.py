"""Losses against a teacher: by the definitions in float64, by hand, by finite differences."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.student import losses
from t5distill.student.divergences import DIVERGENCES
from t5distill.student.objective import Objective, Soft, Target

VOCAB = 30
RULES = {
    "forward_kl": ("drop", "renormalise", "tail"),
    "reverse_kl": ("tail",),
    "jensen_shannon": ("renormalise", "tail"),
    "total_variation": ("renormalise", "tail"),
}


def log_softmax(x):
    x = np.asarray(x, np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def reference(name, p, q, beta):
    """Return a divergence of two lists of probabilities by its definition."""
    if name == "forward_kl" or (name == "jensen_shannon" and beta == 0):
        return kl(p, q)
    if name == "reverse_kl" or (name == "jensen_shannon" and beta == 1):
        return kl(q, p)
    if name == "total_variation":
        return sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2
    m = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
    return beta * kl(p, m) + (1 - beta) * kl(q, m)


def laid_out(ids, probabilities, rule, temperature):
    """Return the teacher's distribution over the vocabulary under a rule, softened."""
    p = np.zeros(VOCAB)
    given = [(i, x) for i, x in zip(ids, probabilities, strict=True) if x > 0]
    mass = sum(x for _, x in given)
    kept = {"drop": mass, "renormalise": 1.0, "tail": min(mass, 1 - 2.0**-12)}[rule]
    if rule == "tail":
        p[:] = (1 - kept) / max(VOCAB - len(given), 1)
    for i, x in given:
        p[i] = x * kept / mass
    total = 1.0 if rule == "tail" else p.sum()
    logs = np.log(np.where(p > 0, p, 1.0)) / temperature
    p = np.exp(logs - logs[p > 0].max()) * (p > 0)
    return p * total / p.sum()


def draw(shape=(2, 7), k=4, seed=0):
    """Return logits, targets, weights and soft labels; one token in four has none."""
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.permutation(VOCAB)[:k] for _ in range(math.prod(shape))])
    mass = rng.uniform(0.5, 1.0, (*shape, 1))
    p = -np.sort(-rng.dirichlet([0.5] * k, shape)) * mass
    p[..., -1] = np.where(rng.random(shape) < 0.5, 0.0, p[..., -1])
    p[rng.random(shape) < 0.25] = 0.0
    return (
        rng.normal(size=(*shape, VOCAB)).astype(np.float32) * 2,
        rng.integers(0, VOCAB, shape).astype(np.int32),
        rng.random(shape).astype(np.float32),
        Soft(
            jnp.asarray(ids.reshape(*shape, k), jnp.int32), jnp.asarray(p.astype(np.float32))
        ),
    )  # fmt: skip


CASES = [
    (name, rule, t, w)
    for name in DIVERGENCES
    for rule in RULES[name]
    for t, w in ((1.0, 1.0), (2.5, 0.3), (0.1, 1.0))
]


@pytest.mark.parametrize(("name", "rule", "temperature", "weight"), CASES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_listed_tokens_by_the_definition(name, rule, temperature, weight, smoothing):
    logits, tokens, _, soft = draw()
    objective = Objective(
        loss=name, soft_weight=weight, temperature=temperature, missing_mass=rule, beta=0.3,
        label_smoothing=smoothing, z_loss=1e-2,
    )  # fmt: skip
    objective.check_listed()
    got = objective.costs(jnp.asarray(logits), Target(jnp.asarray(tokens), soft))
    hard = Objective(label_smoothing=smoothing)
    plain = hard.costs(jnp.asarray(logits), Target(jnp.asarray(tokens)))
    for place in itertools.product(*map(range, tokens.shape)):
        log_z = np.log(np.exp(logits[place].astype(np.float64)).sum())
        hard = float(plain.loss[place])
        wanted, ids, p = hard, np.asarray(soft.ids[place]), np.asarray(soft.probabilities[place])
        if p.any():
            teacher = laid_out(ids, p.astype(np.float64), rule, temperature)
            student = np.exp(log_softmax(logits[place] / temperature))
            apart = temperature**2 * reference(name, teacher, student, 0.3)
            assert float(got.soft[place]) == pytest.approx(apart, rel=2e-5, abs=2e-6)
            agrees = logits[place].argmax() == ids[0]
            entropy = -sum(x * math.log(x) for x in teacher if x > 0)
            assert float(got.entropy[place]) == pytest.approx(entropy, rel=2e-5, abs=2e-6)
            assert float(got.agreement[place]) == agrees
            wanted = (1 - weight) * hard + weight * apart
        else:
            assert float(got.soft[place]) == float(got.softened[place]) == 0.0
        assert float(got.loss[place]) == pytest.approx(wanted + 1e-2 * log_z**2, rel=2e-5)
        assert float(got.hard[place]) == pytest.approx(hard, rel=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_a_white_box_teacher_by_the_definition(name, temperature, beta):
    logits, tokens, _, _ = draw()
    teacher = draw(seed=1)[0]
    objective = Objective(loss=name, temperature=temperature, beta=beta, soft_weight=0.6)
    got = objective.costs(
        jnp.asarray(logits), Target(jnp.asarray(tokens), teacher=jnp.asarray(teacher))
    )
    for place in itertools.product(*map(range, tokens.shape)):
        p = np.exp(log_softmax(teacher[place] / temperature))
        q = np.exp(log_softmax(logits[place] / temperature))
        apart = temperature**2 * reference(name, p, q, beta)
        assert float(got.soft[place]) == pytest.approx(apart, rel=5e-5, abs=5e-6)
        entropy = -(p * np.log(p)).sum()
        assert float(got.entropy[place]) == pytest.approx(entropy, rel=5e-5)
        assert float(got.agreement[place]) == (logits[place].argmax() == teacher[place].argmax())
        hard = -log_softmax(logits[place])[tokens[place]]
        assert float(got.loss[place]) == pytest.approx(0.4 * hard + 0.6 * apart, rel=5e-5)


def test_constants_worked_by_hand():
    # Student 1/4, 1/4, 1/2; teacher 1/2, 1/4 known, so that 1/4 is missing.
    logits = jnp.log(jnp.array([[1.0, 1.0, 2.0]]))
    soft = Soft(jnp.array([[0, 1]]), jnp.array([[0.5, 0.25]]))
    target = Target(jnp.array([2]), soft)

    def cost(name, rule, **more):
        return float(Objective(loss=name, missing_mass=rule, **more).costs(logits, target).loss[0])

    log2 = math.log(2)
    assert cost("forward_kl", "drop") == pytest.approx(0.5 * log2, abs=1e-6)  # 1/2 log 2 + 0
    # 2/3 log(8/3) + 1/3 log(4/3)
    wanted = (2 * math.log(8 / 3) + math.log(4 / 3)) / 3
    assert cost("forward_kl", "renormalise") == pytest.approx(wanted, abs=1e-6)
    # the tail is the third token's: 1/2 log 2 + 0 + 1/4 log(1/2)
    assert cost("forward_kl", "tail") == pytest.approx(0.25 * log2, abs=1e-6)
    assert cost("reverse_kl", "tail") == pytest.approx(0.25 * log2, abs=1e-6)
    assert cost("total_variation", "tail") == pytest.approx(0.25, abs=1e-6)
    # M = 3/8, 1/4, 3/8: (1/2 log(4/3) + 1/4 log(2/3)) for either side
    wanted = 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3)
    assert cost("jensen_shannon", "tail") == pytest.approx(wanted, abs=1e-6)
    # half of it, and half of the cross-entropy log 2
    assert cost("forward_kl", "tail", soft_weight=0.5) == pytest.approx(0.625 * log2, abs=1e-6)


@pytest.mark.parametrize(("name", "rule", "temperature", "weight"), CASES)
def test_gradients_by_finite_differences(name, rule, temperature, weight):
    logits, tokens, weights, soft = draw(shape=(1, 4), seed=3)
    objective = Objective(
        loss=name, soft_weight=weight, temperature=temperature, missing_mass=rule, z_loss=1e-2
    )

    def value(x):
        costs = objective.costs(x, Target(jnp.asarray(tokens), soft))
        return jnp.sum(costs.loss * weights)

    gradient = np.asarray(jax.grad(value)(jnp.asarray(logits)))
    assert np.isfinite(gradient).all()
    rng = np.random.default_rng(0)
    for _ in range(4):
        way = rng.normal(size=logits.shape).astype(np.float32)
        step = 1e-2
        rise = (value(logits + step * way) - value(logits - step * way)) / (2 * step)
        assert float((gradient * way).sum()) == pytest.approx(float(rise), rel=1e-2, abs=2e-3)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences_are_zero_at_equality_and_never_negative(name):
    logits, tokens, _, _ = draw()
    objective = Objective(loss=name, beta=0.5)
    for teacher, zero in ((logits, True), (draw(seed=5)[0], False)):
        soft = objective.costs(
            jnp.asarray(logits), Target(jnp.asarray(tokens), teacher=jnp.asarray(teacher))
        ).soft
        assert np.all(np.asarray(soft) >= -1e-6)
        assert np.allclose(soft, 0.0, atol=1e-6) == zero


def test_a_one_hot_teacher_is_cross_entropy():
    logits, tokens, _, _ = draw()
    ids = jnp.stack([jnp.asarray(tokens), jnp.zeros_like(jnp.asarray(tokens))], axis=-1)
    sure = Soft(ids, jnp.broadcast_to(jnp.array([1.0, 0.0]), ids.shape))
    for rule in RULES["forward_kl"]:
        got = Objective(loss="forward_kl", missing_mass=rule).costs(
            jnp.asarray(logits), Target(jnp.asarray(tokens), sure)
        )
        # A tail keeps something for the other tokens.
        slack = 5e-3 if rule == "tail" else 1e-6
        np.testing.assert_allclose(got.loss, got.hard, rtol=1e-5, atol=slack)


ROWS = {
    "certain": [1.0, 0.0, 0.0, 0.0],
    "a little more than certain": [0.9, 0.1005, 0.0, 0.0],
    "nearly certain": [0.99999, 1e-8, 1e-12, 0.0],
    "unlikely": [1e-5, 1e-6, 1e-7, 1e-30],
    "even": [0.25, 0.25, 0.25, 0.25],
    "nothing": [0.0, 0.0, 0.0, 0.0],
}


@pytest.mark.parametrize(("name", "rule"), [(n, r) for n in DIVERGENCES for r in RULES[n]])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_every_row_has_a_finite_cost_and_gradient(name, rule, temperature, scale):
    objective = Objective(loss=name, missing_mass=rule, temperature=temperature)
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(len(ROWS), VOCAB)) * scale, jnp.float32)
    ids = jnp.asarray(rng.permuted(np.tile(np.arange(VOCAB), (len(ROWS), 1)), axis=1)[:, :4])
    soft = Soft(ids, jnp.asarray(list(ROWS.values()), jnp.float32))
    tokens = jnp.zeros(len(ROWS), jnp.int32)

    def cost(x):
        return jnp.sum(objective.costs(x, Target(tokens, soft)).loss)

    got = objective.costs(logits, Target(tokens, soft))
    assert np.isfinite(got.loss).all() and np.isfinite(got.entropy).all()
    assert np.isfinite(jax.grad(cost)(logits)).all()
    for place, p in enumerate(ROWS.values()):
        if any(p):
            teacher = laid_out(ids[place].tolist(), p, rule, temperature)
            if scale > 1.0:
                continue
            student = np.exp(log_softmax(logits[place] / temperature))
            apart = temperature**2 * reference(name, teacher, student, 0.5)
            assert float(got.soft[place]) == pytest.approx(apart, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_as_many_entries_as_tokens(name):
    ids = jnp.arange(4)[None]
    soft = Soft(ids, jnp.array([[0.4, 0.3, 0.2, 0.1]]))
    objective = Objective(loss=name, missing_mass="tail")

    def cost(x):
        return jnp.sum(objective.costs(x, Target(jnp.array([1]), soft)).loss)

    value, gradient = jax.value_and_grad(cost)(jnp.zeros((1, 4)))
    assert np.isfinite(value) and np.isfinite(gradient).all()


def chunked(seed=0, emb=8, shape=(4, 13)):
    rng = np.random.default_rng(seed)
    _, tokens, weights, soft = draw(shape=shape, seed=seed)
    hidden = rng.normal(size=(*shape, emb)).astype(np.float32)
    kernel = rng.normal(size=(emb, VOCAB)).astype(np.float32)
    return hidden, kernel, losses.Rows(jnp.asarray(tokens), jnp.asarray(weights), soft)


@pytest.mark.parametrize(("name", "rule"), [(n, r) for n in DIVERGENCES for r in RULES[n]])
@pytest.mark.parametrize("chunk_rows", [10**6, 6])
def test_chunks_and_shards_change_nothing(monkeypatch, name, rule, chunk_rows):
    monkeypatch.setattr(losses, "CHUNK_ROWS", chunk_rows)
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 1)
    hidden, kernel, rows = chunked()
    objective = Objective(loss=name, missing_mass=rule, soft_weight=0.7)

    def whole(h, k):
        costs = objective.costs(h @ k, Target(rows.tokens, rows.soft))
        return losses.total(costs, rows.weights)

    wanted, wanted_gradients = jax.value_and_grad(lambda *a: whole(*a).loss, (0, 1))(hidden, kernel)
    for shards in (1, 2):

        def fused(h, k, shards=shards):
            return losses.loss_sums(objective, h, k, rows, data_shards=shards)

        got, gradients = jax.value_and_grad(lambda *a: fused(*a).loss, (0, 1))(hidden, kernel)
        assert float(got) == pytest.approx(float(wanted), rel=1e-5)
        for mine, theirs in zip(gradients, wanted_gradients, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-4)
        for mine, theirs in zip(fused(hidden, kernel), whole(hidden, kernel), strict=True):
            assert float(mine) == pytest.approx(float(theirs), rel=1e-5)


def test_metrics_are_means_over_the_tokens_that_they_are_about():
    hidden, kernel, rows = chunked()
    objective = Objective(loss="forward_kl")
    means = losses.loss_sums(objective, hidden, kernel, rows).means()
    costs = objective.costs(hidden @ kernel, Target(rows.tokens, rows.soft))
    everywhere = np.asarray(rows.weights)
    there = everywhere * (np.asarray(rows.soft.probabilities[..., 0]) > 0)
    assert 0 < there.sum() < everywhere.sum()
    of = {
        "loss": (costs.loss, everywhere),
        "hard_loss": (costs.hard, everywhere),
        "token_accuracy": (costs.correct, everywhere),
        "soft_loss": (costs.soft, there),
        "teacher_entropy": (costs.entropy, there),
        "teacher_agreement": (costs.agreement, there),
    }
    for name, (values, weights) in of.items():
        assert float(means[name]) == pytest.approx(np.average(values, weights=weights), rel=1e-4)
    assert float(means["soft_share"]) == pytest.approx(there.sum() / everywhere.sum(), rel=1e-5)


def test_padding_changes_nothing():
    hidden, kernel, rows = chunked()
    objective = Objective(loss="forward_kl")
    wanted = losses.loss_sums(objective, hidden, kernel, rows)
    padded = jax.tree.map(lambda x: jnp.pad(x, ((0, 2), (0, 3)) + ((0, 0),) * (x.ndim - 2)), rows)
    hidden = np.pad(hidden, ((0, 2), (0, 3), (0, 0)), constant_values=3.0)
    got = losses.loss_sums(objective, hidden, kernel, padded)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_a_teacher_s_logits_are_never_whole():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(64, 64, 8)).astype(np.float32)
    states = rng.normal(size=(64, 64, 16)).astype(np.float32)
    kernel, other = (rng.normal(size=(emb, 1024)).astype(np.float32) for emb in (8, 16))
    tokens = jnp.ones((64, 64), jnp.int32)
    rows = losses.Rows(tokens, jnp.ones((64, 64)), teacher=jnp.asarray(states))

    def value(h, k):
        objective = Objective(loss="jensen_shannon")
        return losses.loss_sums(objective, h, k, rows, teacher_kernel=jnp.asarray(other)).loss

    compiled = jax.jit(jax.grad(value, (0, 1))).lower(hidden, kernel).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 64 * 64 * 1024 * 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "kl"}, "LOSS is 'kl'"),
        ({"loss": "forward_kl", "missing_mass": "dropp"}, "did you mean drop"),
        ({"soft_weight": 1.5}, "SOFT_WEIGHT is 1.5"),
        ({"beta": -0.1}, "BETA is -0.1"),
        ({"temperature": 0.0}, "SOFT_TEMPERATURE is 0.0"),
        ({"temperature": math.nan}, "SOFT_TEMPERATURE is nan"),
        ({"label_smoothing": 1.0}, "LABEL_SMOOTHING is 1.0"),
    ],
)
def test_constants_out_of_range(fields, message):
    with pytest.raises(UserError, match=message):
        Objective(**fields)


@pytest.mark.parametrize("name", ["reverse_kl", "jensen_shannon", "total_variation"])
def test_a_divergence_that_needs_a_whole_distribution_says_so(name):
    with pytest.raises(UserError, match="wanted MISSING_MASS"):
        Objective(loss=name, missing_mass="drop").check_listed()


def test_jensen_shannon_at_its_ends_needs_what_the_kls_need():
    with pytest.raises(UserError, match="wanted MISSING_MASS tail"):
        Objective(loss="jensen_shannon", missing_mass="renormalise", beta=1.0).check_listed()
    Objective(loss="jensen_shannon", missing_mass="drop", beta=0.0).check_listed()
