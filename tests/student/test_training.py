"""`fit` in one process: accumulation, packing, precision, selection, and how it refuses."""

import dataclasses
import pathlib
import sys

import jax
import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.student import checkpoints, losses, network, sharding, trainer, update
from t5distill.student.config import T5Config
from t5distill.student.objective import Objective
from t5distill.student.settings import Settings
from t5distill.student.weights import open_weights

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from train_process import batches_from

CONFIG = T5Config(
    vocab_size=64,
    emb_dim=32,
    num_heads=2,
    head_dim=8,
    mlp_dim=48,
    num_encoder_layers=1,
    num_decoder_layers=1,
)
SETTINGS = Settings(train_steps=6, learning_rate=1e-2, log_period=1)


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Keep compiled programs: most runs here share theirs."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("cache")),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def source(step):
    return batches_from(step, rows=8, length=8)


class Log:
    """Keeps what a writer is given."""

    def __init__(self):
        self.rows = []
        self.steps = []

    def advance(self, step):
        self.steps.append(step)

    def write(self, step, scalars):
        self.rows.append((step, scalars))

    def values(self, name):
        return np.array([row[name] for _, row in self.rows if name in row])


def fit(directory, config=CONFIG, settings=SETTINGS, batches=source, **options):
    log = Log()
    outcome = trainer.fit(
        config, settings, directory=directory, batches=batches, writer=log, **options
    )
    return outcome, log


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("plain"))


def test_training_learns_and_reports(plain):
    outcome, log = plain
    assert log.steps == [1, 2, 3, 4, 5, 6]
    assert log.values("loss")[-1] < log.values("loss")[0]
    assert outcome.metrics["loss"] == log.values("loss")[-1]
    assert (log.values("tokens_per_second") > 0).all()
    assert not outcome.stopped


@pytest.mark.parametrize("factor", ["NUM_REAL_TARGET_TOKENS", None, "AVERAGE_PER_SEQUENCE"])
def test_microbatches_change_nothing(tmp_path, factor):
    # Weights differ from row to row, so means of means would differ.
    settings = dataclasses.replace(SETTINGS, loss_normalizing_factor=factor, optimizer="adamw")
    whole, log = fit(tmp_path / "1", settings=settings)
    parts, log_parts = fit(tmp_path / "4", settings=dataclasses.replace(settings, microbatches=4))
    np.testing.assert_allclose(log_parts.values("loss"), log.values("loss"), rtol=1e-5)
    for a, b in zip(
        jax.tree.leaves(parts.state.params), jax.tree.leaves(whole.state.params), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_the_reported_metrics_do_not_depend_on_the_log_period(tmp_path, plain):
    _, log = fit(tmp_path, settings=dataclasses.replace(SETTINGS, log_period=3))
    assert [step for step, _ in log.rows] == [3, 6]
    wanted = plain[1].values("loss").reshape(2, 3).mean(axis=1)
    np.testing.assert_allclose(log.values("loss"), wanted, rtol=1e-5)


def test_bfloat16_and_rematerialisation(tmp_path, plain):
    wanted = plain[1].values("loss")
    remat = dataclasses.replace(CONFIG, remat="full")
    np.testing.assert_allclose(fit(tmp_path / "r", remat)[1].values("loss"), wanted, rtol=1e-5)
    half = dataclasses.replace(CONFIG, dtype="bfloat16")
    outcome, log = fit(tmp_path / "h", half)
    np.testing.assert_allclose(log.values("loss"), wanted, rtol=2e-2)
    assert {x.dtype.name for x in jax.tree.leaves(outcome.state.params)} == {"float32"}


@jax.jit
def sums_of(params, batch, weights):
    """Return the sums of a batch's loss, the network called directly."""
    model = network.bind(CONFIG, params)
    hidden = model.hidden(
        batch["encoder_input_tokens"],
        batch["decoder_input_tokens"],
        encoder_segments=batch.get("encoder_segment_ids"),
        decoder_segments=batch.get("decoder_segment_ids"),
    )
    rows = losses.Rows(batch["decoder_target_tokens"], weights)
    return losses.loss_sums(Objective(), hidden, model.output_kernel(), rows)


def test_packing_changes_no_example_s_loss():
    draw = np.random.default_rng(0)
    params = network.init_parameters(CONFIG, 0)
    lengths = [(3, 5), (6, 2), (4, 4)]
    examples = [
        (draw.integers(2, 60, i).astype(np.int32), draw.integers(2, 60, t).astype(np.int32))
        for i, t in lengths
    ]

    def shifted(x):
        return np.concatenate([[0], x[:-1]]).astype(np.int32)

    def padded(x):
        return np.pad(x, (0, 8 - len(x)))[None]

    alone = []
    for inputs, targets in examples:
        batch = {
            "encoder_input_tokens": padded(inputs),
            "decoder_input_tokens": padded(shifted(targets)),
            "decoder_target_tokens": padded(targets),
        }
        alone.append(float(sums_of(params, batch, padded(np.ones(len(targets)))).loss))

    def packed(parts, width):
        row = np.concatenate(parts)
        return np.pad(row, (0, width - len(row)))[None]

    def segments(which, width):
        return packed([np.full(n, i + 1, np.int32) for i, n in enumerate(which)], width)

    encoder_segments = segments([i for i, _ in lengths], 16)
    decoder_segments = segments([t for _, t in lengths], 16)
    batch = {
        "encoder_input_tokens": packed([i for i, _ in examples], 16),
        "decoder_input_tokens": packed([shifted(t) for _, t in examples], 16),
        "decoder_target_tokens": packed([t for _, t in examples], 16),
        "encoder_segment_ids": encoder_segments,
        "decoder_segment_ids": decoder_segments,
    }
    together = [
        float(sums_of(params, batch, (decoder_segments == i + 1).astype(np.float64)).loss)
        for i in range(3)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_validation_counts_every_token_once(tmp_path):
    # Batches of unlike weight, the last one short: the mean over tokens is not the mean of means.
    batches = [next(source(100)), {k: v[:3] for k, v in next(source(101)).items()}]
    batches[0]["decoder_loss_weights"][:, 2:] = 0
    settings = dataclasses.replace(SETTINGS, train_steps=2, eval_period=2)
    outcome, log = fit(tmp_path, settings=settings, validation=lambda: batches)
    params = outcome.state.params
    total = sum(np.array(sums_of(params, b, b["decoder_loss_weights"])[:3]) for b in batches)
    np.testing.assert_allclose(log.values("validation_loss"), [total[0] / total[1]], rtol=1e-5)
    assert outcome.metrics["validation_loss"] == log.values("validation_loss")[0]


def test_the_best_checkpoint_is_kept(tmp_path):
    accuracies = {2: 0.1, 4: 0.9, 6: 0.3}
    fit(
        tmp_path,
        settings=dataclasses.replace(SETTINGS, eval_period=2),
        evaluate=lambda params, step: {"validation_accuracy": accuracies[step]},
    )
    assert checkpoints.steps(tmp_path) == [4, 6]
    assert checkpoints.find(tmp_path).name == "checkpoint_4"


def test_stop_saves_and_the_next_run_resumes(tmp_path, plain):
    calls = iter([False, False, True])
    outcome, log = fit(tmp_path, stop=lambda: next(calls))
    assert outcome.stopped
    assert log.steps == [1, 2, 3]
    again, log = fit(tmp_path)
    assert log.steps == [4, 5, 6]
    assert again.metrics["loss"] == plain[0].metrics["loss"]
    finished, log = fit(tmp_path)
    assert (int(finished.state.step), log.steps) == (6, [])


def test_initial_weights_begin_at_step_0_and_resuming_wins_over_them(tmp_path, plain):
    params = plain[0].state.params
    _, log = fit(
        tmp_path / "new",
        settings=dataclasses.replace(SETTINGS, train_steps=2),
        initial=lambda wanted: params,
    )
    assert log.steps == [1, 2]
    assert log.values("loss")[0] < plain[1].values("loss")[0]
    # The source's arrays were not donated away.
    assert np.isfinite(np.asarray(params["token_embedder"]["embedding"])).all()
    _, log = fit(tmp_path / "new", initial=lambda wanted: pytest.fail("resuming wins"))
    assert log.steps == [3, 4, 5, 6]
    wanted = update.abstract_state(CONFIG, SETTINGS, sharding.make_mesh()).params
    read = open_weights(tmp_path / "new").load(wanted)
    np.testing.assert_array_equal(
        read["token_embedder"]["embedding"],
        checkpoints.load_params(tmp_path / "new")["token_embedder"]["embedding"],
    )


def test_a_loss_that_is_not_finite_stops_before_anything_is_saved(tmp_path):
    wild = dataclasses.replace(SETTINGS, learning_rate=1e30, optimizer="adamw", log_period=4)
    with pytest.raises(UserError, match=r"is (nan|inf) at step [23]\. Lower LEARNING_RATE"):
        fit(tmp_path, settings=wild)
    assert checkpoints.steps(tmp_path) == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"microbatches": 3}, "BATCH_SIZE is 8, wanted a multiple of 3"),
        ({"train_steps": 9}, "the training data ended after step 8"),
    ],
)
def test_what_fit_refuses(tmp_path, change, message):
    def short(step):
        for _, batch in zip(range(step, 8), source(step), strict=False):
            yield batch

    with pytest.raises(UserError, match=message):
        fit(tmp_path, settings=dataclasses.replace(SETTINGS, **change), batches=short)


def test_weights_of_another_network_are_refused(tmp_path, plain):
    wide = dataclasses.replace(CONFIG, mlp_dim=64)
    with pytest.raises(UserError, match="is of another network"):
        fit(tmp_path, wide, initial=lambda wanted: plain[0].state.params)


def test_a_mesh_that_does_not_divide_is_refused():
    with pytest.raises(UserError, match="MODEL_PARALLELISM is 3, wanted a divisor"):
        sharding.make_mesh(3)
