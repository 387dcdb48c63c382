"""The two engines beside each other: the same losses, parameters and greedy tokens.

`tests/student/test_parity.py` and `test_optimizers.py` are what always runs: recorded networks of
Hugging Face, and Adafactor's factors.
"""

import dataclasses
import importlib.util
import itertools

import jax
import numpy as np
import pytest

import t5distill.tasks  # noqa: F401  registers the tasks
from t5distill import data
from t5distill.formats import quantised
from t5distill.problems import embedded
from t5distill.records import write_jsonl
from t5distill.student import sharding, trainer
from t5distill.student.config import T5Config
from t5distill.student.decoding import generate_tokens
from t5distill.student.network import init_parameters
from t5distill.student.settings import Settings

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("t5x") is None, reason="T5X is not installed (docs/t5x.md)"
)

STEPS = 50
# Large enough that Adafactor factors its second moments, which it does from 128 columns on.
CONFIG = T5Config(
    vocab_size=384,
    emb_dim=128,
    num_heads=4,
    head_dim=32,
    mlp_dim=256,
    num_encoder_layers=2,
    num_decoder_layers=2,
    dropout_rate=0.0,
)
LENGTHS = {"inputs": 256, "targets": 192}


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Packed batches of word problems in bytes, with positions as T5X wants them."""
    root = tmp_path_factory.mktemp("data")
    problems = embedded.generate(count=400, seed=0, split="train")
    write_jsonl(root / "embedded/train.jsonl", problems)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T5DISTILL_DATA_DIR", str(root))
        stream = data.stream_batches(
            data.resolve("embedded_cot", "byt5"), lengths=LENGTHS, batch_size=4, seed=0
        )
        return list(itertools.islice(stream, STEPS))


def ours(params, batches, directory, **settings):
    """Train on our engine; return losses and parameters."""
    losses = []

    class Writer:
        def advance(self, step):
            pass

        def write(self, step, scalars):
            losses.append(scalars["loss"])

    outcome = trainer.fit(
        CONFIG,
        Settings(train_steps=STEPS, log_period=1, schedule="linear", warmup_steps=10, **settings),
        directory=directory,
        batches=lambda step: iter(batches[step:]),
        mesh=sharding.make_mesh(),
        initial=lambda wanted: params,
        writer=Writer(),
    )
    return losses, outcome.state.params


def theirs(params, batches, **settings):
    """Train with T5X's trainer, model and Adafactor as gin/t5x/train.gin binds them."""
    from benchmarks import t5x_engine
    from t5distill import on_t5x

    fields = dataclasses.asdict(CONFIG)
    shape = {k: fields[k] for k in (
        "vocab_size", "emb_dim", "num_heads", "head_dim", "mlp_dim", "num_encoder_layers",
        "num_decoder_layers", "mlp_activations", "logits_via_embedding",
    )}  # fmt: skip
    rate = on_t5x.schedule(
        name="linear",
        train_steps=STEPS,
        learning_rate=settings.pop("learning_rate"),
        warmup_steps=10,
    )
    model = on_t5x.make_model(
        task=data.resolve("embedded_cot", "byt5"),
        vocab="byt5",
        vocab_path=None,
        **shape,
        optimizer=on_t5x.make_optimizer_def(settings.pop("optimizer", "adafactor"), rate),
        loss_normalizing_factor="NUM_REAL_TARGET_TOKENS",
        decode_fn=on_t5x.decode_function(decoding_name="greedy", temperature=0.0),
        **settings,
    )
    engine = t5x_engine.make_trainer(model, params, batches[0], rate)
    engine.compile_train(batches[0])
    losses = []
    for batch in batches:
        metrics = engine.train(iter([batch]), 1).result()
        losses.append(float(metrics["loss"].value))
    return losses, engine.train_state.params, model


def apart(mine, other, before):
    """Return how far two trees of parameters are from each other, and one from its beginning."""

    def distance(one, two):
        pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
        return max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in pairs)

    return distance(mine, other), distance(mine, before)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 1e-2},
        {"learning_rate": 1e-3, "optimizer": "adamw"},
        {"learning_rate": 1e-2, "z_loss": 1e-4, "label_smoothing": 0.1},
    ],
)
def test_fifty_updates(batches, tmp_path, settings):
    params = jax.tree.map(np.array, init_parameters(CONFIG, 0))
    found, mine = ours(params, batches, tmp_path, **settings)
    wanted, other, model = theirs(params, batches, **settings)
    assert len(found) == len(wanted) == STEPS and wanted[-1] < 0.8 * wanted[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    distance, moved = apart(mine, other, params)
    with np.printoptions(precision=2):
        worst = np.max(np.abs(np.array(found) / wanted - 1))
        print(f"\n{settings}: losses {worst:.1e} apart, parameters {distance:.1e} of {moved:.1e}")
    assert distance < 0.02 * moved
    if len(settings) == 1:
        same_greedy_tokens(jax.tree.map(np.asarray, other), model)


SOFT = [
    {"loss": "forward_kl"},
    {"loss": "forward_kl", "soft_weight": 0.5, "soft_temperature": 2.0, "missing_mass": "tail"},
    {"loss": "jensen_shannon", "missing_mass": "renormalise", "z_loss": 1e-4},
    {"loss": "reverse_kl", "missing_mass": "tail", "label_smoothing": 0.1, "soft_weight": 0.9},
]


def softened(batch, step, k=5):
    """Add soft labels to a packed batch; padding has none."""
    draw = np.random.default_rng(step)
    targets = batch["decoder_target_tokens"]
    ids = np.concatenate([targets[..., None], draw.integers(3, 250, (*targets.shape, k - 1))], -1)
    shares = np.sort(draw.dirichlet([0.3] * (k + 1), targets.shape))[..., :0:-1]
    shares[draw.random(targets.shape) < 0.2] = 0.0
    found = [quantised.encoded(i, p) for i, p in zip(ids, shares, strict=True)]
    real = np.repeat(targets > 0, k, axis=1)
    soft_ids, values = (np.where(real, np.stack(x), 0) for x in zip(*found, strict=True))
    return {**batch, "decoder_soft_ids": soft_ids, "decoder_soft_values": values}


@pytest.mark.parametrize("settings", SOFT, ids=lambda s: "-".join(map(str, s.values())))
def test_fifty_updates_against_a_teacher(batches, tmp_path, settings):
    from t5distill import on_t5x

    taught = [softened(batch, step) for step, batch in enumerate(batches)]
    params = jax.tree.map(np.array, init_parameters(CONFIG, 0))
    found, mine = ours(params, taught, tmp_path, learning_rate=1e-2, **settings)
    objective = on_t5x.objective(
        loss=settings["loss"],
        z_loss=settings.get("z_loss", 0.0),
        label_smoothing=settings.get("label_smoothing", 0.0),
        soft_weight=settings.get("soft_weight", 1.0),
        temperature=settings.get("soft_temperature", 1.0),
        missing_mass=settings.get("missing_mass", "drop"),
        beta=0.5,
        teacher_checkpoint=None,
        on_policy_share=0.0,
    )
    wanted, other, _ = theirs(params, taught, learning_rate=1e-2, objective=objective)
    assert wanted[-1] < 0.95 * wanted[0]
    # T5X's metric is the loss over all target tokens, of which ours weighs each once too.
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    distance, moved = apart(mine, other, params)
    assert distance < 0.02 * moved


def same_greedy_tokens(params, model, count=256, width=64, longest=48):
    """Decode with the parameters that T5X has trained, on both engines."""
    vocabulary = data.vocabulary("byt5")
    problems = embedded.generate(count=count, seed=1, split="test")
    rows = [[*vocabulary.encode(p.question)[: width - 1], 1] for p in problems]
    inputs = np.zeros((count, width), np.int32)
    for row, tokens in zip(inputs, rows, strict=True):
        row[: len(tokens)] = tokens
    batch = {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.zeros((count, longest), np.int32),
    }
    wanted = np.asarray(jax.jit(model.predict_batch)(params, batch)).tolist()
    found = generate_tokens(params, CONFIG, rows, max_tokens=longest)
    texts = [row[: row.index(1)] if 1 in row else row for row in wanted]
    assert len({tuple(text) for text in texts}) > 1
    assert [row[0].tokens for row in found] == texts
