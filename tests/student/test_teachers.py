"""White-box teachers and the student's own texts, in one process: limits, mistakes, learning."""

import dataclasses
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.student import network, sharding, trainer, update
from t5distill.student.config import T5Config
from t5distill.student.decoding import generate_tokens
from t5distill.student.on_policy import OnPolicy
from t5distill.student.settings import Settings
from t5distill.student.slots import EOS
from t5distill.student.top_tokens import top_tokens

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
    dropout_rate=0.0,
)
LARGER = dataclasses.replace(CONFIG, emb_dim=48)
MESH = sharding.make_mesh()


def source(step):
    return batches_from(step, rows=8, length=8, packed=False)


class Log(list):
    """Keeps what a writer is given."""

    def advance(self, step):
        pass

    def write(self, step, scalars):
        self.append(scalars)


def fit(directory, *, teacher=None, rewrite=None, batches=source, steps=6, **settings):
    log = Log()
    trainer.fit(
        CONFIG,
        Settings(train_steps=steps, learning_rate=1e-2, log_period=1, **settings),
        directory=directory,
        batches=batches,
        teacher=teacher,
        rewrite=rewrite,
        writer=log,
    )
    return log


def white_box(config=LARGER, seed=3):
    params = network.init_parameters(config, seed)
    return update.Teacher(config, jax.device_put(params, sharding.replicated(MESH)))


def own_texts(share, seed=0):
    return OnPolicy(config=CONFIG, share=share, seed=seed, mesh=MESH)


def test_a_teacher_that_is_the_student_has_nothing_to_teach(tmp_path):
    same = white_box(CONFIG, seed=0)
    first = fit(tmp_path, teacher=same, steps=1, loss="forward_kl")[0]
    assert first["soft_loss"] == pytest.approx(0.0, abs=1e-5)
    assert first["teacher_agreement"] == pytest.approx(1.0)
    assert first["gradient_norm"] < 1e-3


@pytest.mark.parametrize("loss", ["forward_kl", "reverse_kl", "jensen_shannon", "total_variation"])
def test_the_student_comes_to_write_like_its_teacher(tmp_path, loss):
    log = fit(tmp_path, teacher=white_box(), steps=60, loss=loss)
    early, late = (np.mean([row["soft_loss"] for row in part]) for part in (log[:5], log[-5:]))
    assert late < 0.7 * early
    assert log[-1]["soft_share"] == 1.0
    # Apart: what the divergence is, what the cross-entropy is, how sure the teacher is.
    assert log[-1]["loss"] == pytest.approx(log[-1]["soft_loss"], rel=1e-5)
    assert log[-1]["hard_loss"] > log[-1]["soft_loss"] and log[-1]["teacher_entropy"] > 0


def test_share_0_is_supervised_and_needs_no_decoding(tmp_path):
    supervised = fit(tmp_path / "a", teacher=white_box(), loss="forward_kl")
    never = fit(tmp_path / "b", teacher=white_box(), loss="forward_kl", rewrite=own_texts(0.0))
    assert [row["loss"] for row in never] == [row["loss"] for row in supervised]


def test_jensen_shannon_at_0_and_1_is_the_two_kls(tmp_path):
    for beta, name in ((0.0, "forward_kl"), (1.0, "reverse_kl")):
        wanted = fit(tmp_path / name, teacher=white_box(), loss=name)
        found = fit(tmp_path / f"{beta}", teacher=white_box(), loss="jensen_shannon", jsd_beta=beta)
        np.testing.assert_allclose(
            [row["loss"] for row in found], [row["loss"] for row in wanted], rtol=1e-6
        )


def test_only_the_teacher_counts_on_what_the_student_writes(tmp_path):
    options = dict(teacher=white_box(), loss="forward_kl", soft_weight=0.25)
    own = fit(tmp_path / "own", rewrite=own_texts(1.0), **options)
    assert all(row["loss"] == pytest.approx(row["soft_loss"], rel=1e-5) for row in own)
    given = fit(tmp_path / "given", **options)
    for row in given:
        mixed = 0.75 * row["hard_loss"] + 0.25 * row["soft_loss"]
        assert row["loss"] == pytest.approx(mixed, rel=1e-5)


def test_a_share_of_the_steps_by_seed_and_step_alone():
    [batch] = [next(source(0))]
    params = network.init_parameters(CONFIG, 0)
    turns = [own_texts(0.4)(params, step, batch) is not None for step in range(40)]
    assert 8 <= sum(turns) <= 24
    assert turns == [own_texts(0.4)(params, step, batch) is not None for step in range(40)]
    assert turns != [own_texts(0.4, seed=1)(params, step, batch) is not None for step in range(40)]


def test_targets_are_the_student_s_samples():
    batch = next(source(0))
    inputs = batch["encoder_input_tokens"]
    inputs[2, 5:] = 0
    inputs[7] = 0  # padding of a short batch
    params = network.init_parameters(CONFIG, 0)
    made = own_texts(1.0)(params, 4, batch)
    assert set(made) == {
        "encoder_input_tokens",
        "decoder_input_tokens",
        "decoder_target_tokens",
        "decoder_loss_weights",
    }
    targets, weights = made["decoder_target_tokens"], made["decoder_loss_weights"]
    assert not weights[7].any() and weights[:7].any(axis=1).all()
    np.testing.assert_array_equal(made["decoder_input_tokens"][:, 1:], targets[:, :-1])
    assert not made["decoder_input_tokens"][:, 0].any()
    draw = np.random.default_rng((0, 4))
    draw.random()
    rows = [row[row > 0].tolist() or [EOS] for row in inputs]
    outputs = generate_tokens(
        params, CONFIG, rows, max_tokens=8, temperature=1.0, seed=int(draw.integers(2**31))
    )
    for row, weight, [output] in zip(targets[:7], weights, outputs, strict=False):
        written = [*output.tokens, EOS] if output.finished else output.tokens
        assert row[: len(written)].tolist() == written and weight.sum() == len(written)
        assert not row[len(written) :].any() and not weight[len(written) :].any()
    again = own_texts(1.0)(params, 5, batch)["decoder_target_tokens"]
    assert (again != targets).any()


def no_soft(step):
    for batch in source(step):
        yield {name: x for name, x in batch.items() if "soft" not in name}


def too_many_tokens(step):
    for batch in source(step):
        batch["decoder_soft_ids"][3, 2] = 1 + 64
        yield batch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "forward_kl", "batches": too_many_tokens}, "soft label is token 64, the student"),
        ({"loss": "forward_kl", "batches": no_soft}, "the task has no soft labels"),
        ({"loss": "reverse_kl"}, "wanted MISSING_MASS tail"),
        ({"loss": "cross_entropy", "rewrite": own_texts(0.5)}, "nobody scores"),
        ({"loss": "cross_entropy", "teacher": white_box()}, "beside TEACHER_CHECKPOINT_PATH"),
        (
            {
                "loss": "forward_kl",
                "teacher": white_box(dataclasses.replace(CONFIG, vocab_size=72)),
            },
            "the teacher has 72 tokens, the student 64",
        ),
        (
            {
                "loss": "forward_kl",
                "teacher": white_box(),
                "rewrite": own_texts(1.0),
                "batches": lambda step: batches_from(step, rows=8, length=8),
            },
            "wanted PACK = False",
        ),
    ],
)
def test_mistakes_are_named_before_the_first_step(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        fit(tmp_path, **options)
    assert not list(tmp_path.glob("checkpoint_*"))


def test_the_likeliest_tokens_are_those_of_all_logits():
    draw = np.random.default_rng(0)
    inputs = draw.integers(2, 64, (3, 6)).astype(np.int32)
    targets = draw.integers(2, 64, (3, 5)).astype(np.int32)
    params = network.init_parameters(CONFIG, 0)
    ids, values, own = top_tokens(params, inputs, targets, config=CONFIG, k=7)
    model = network.bind(CONFIG, params)
    log_p = np.asarray(
        jax.nn.log_softmax(model(inputs, jnp.pad(targets, ((0, 0), (1, 0)))[:, :-1]))
    )
    order = np.argsort(-log_p, axis=-1)[..., :7]
    np.testing.assert_array_equal(ids, order)
    np.testing.assert_allclose(values, np.take_along_axis(log_p, order, -1), rtol=1e-5)
    of_targets = np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(own, of_targets, rtol=1e-5)
