"""Which checkpoints count as whole, are kept, chosen and read."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.student import checkpoints, network, sharding, update
from t5distill.student.checkpoints import Checkpoints
from t5distill.student.config import T5Config
from t5distill.student.settings import Settings

PARAMS = {"a": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "b": jnp.ones(2)}
CONFIG = T5Config(
    vocab_size=32,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=32,
    num_encoder_layers=1,
    num_decoder_layers=1,
)


def save(directory, evaluations, keep=1):
    saver = Checkpoints(directory, keep=keep)
    for step, metrics in evaluations.items():
        saver.save(step, PARAMS, {"count": jnp.zeros(())}, metrics)
    saver.close()


def accuracy(value, loss=1.0):
    return {"validation_accuracy": value, "validation_loss": loss}


def test_the_newest_and_the_best_are_kept(tmp_path):
    save(tmp_path, {1: accuracy(0.5), 2: accuracy(0.7), 3: {}, 4: accuracy(0.6), 5: {}}, keep=2)
    assert checkpoints.steps(tmp_path) == [2, 4, 5]
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 2
    assert checkpoints.find(tmp_path).name == "checkpoint_2"
    assert checkpoints.find(tmp_path, "best").name == "checkpoint_2"
    assert checkpoints.find(tmp_path, 5).name == "checkpoint_5"
    assert checkpoints.find(tmp_path / "checkpoint_4").name == "checkpoint_4"


def test_equal_accuracies_are_told_apart_by_loss(tmp_path):
    save(tmp_path, {1: accuracy(0.0, 3.0), 2: accuracy(0.0, 2.0), 3: accuracy(0.0, 2.5)})
    assert checkpoints.best_step(tmp_path) == 2


def test_loss_decides_without_accuracy_and_the_newest_without_either(tmp_path):
    save(tmp_path / "loss", {1: {"validation_loss": 1.0}, 2: {"validation_loss": 2.0}})
    assert checkpoints.find(tmp_path / "loss").name == "checkpoint_1"
    save(tmp_path / "none", {1: {}, 2: {}})
    assert checkpoints.find(tmp_path / "none").name == "checkpoint_2"
    with pytest.raises(UserError, match="no best"):
        checkpoints.find(tmp_path / "none", "best")


def test_an_unfinished_or_half_deleted_checkpoint_is_none(tmp_path):
    save(tmp_path, {1: {}, 2: {}}, keep=5)
    (tmp_path / "checkpoint_2" / "_CHECKPOINT_METADATA").unlink()
    (tmp_path / "checkpoint_3.orbax-checkpoint-tmp").mkdir()
    assert checkpoints.steps(tmp_path) == [1]
    with pytest.raises(UserError, match="no whole checkpoint"):
        checkpoints.find(tmp_path / "checkpoint_2")
    Checkpoints(tmp_path).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint_1"]


def test_improvement_is_judged_against_what_lies_there(tmp_path):
    save(tmp_path, {1: accuracy(0.5)})
    saver = Checkpoints(tmp_path)
    assert saver.improves(accuracy(0.6))
    assert not saver.improves(accuracy(0.4))
    assert not saver.improves({})
    saver.close()


def test_parameters_and_optimizer_come_back_bit_for_bit(tmp_path):
    mesh = sharding.make_mesh()
    settings = Settings(train_steps=1)
    shapes = update.abstract_state(CONFIG, settings, mesh)
    state = update.start_state(update.random_parameters(CONFIG, 0, shapes), settings, shapes)
    saver = Checkpoints(tmp_path)
    saver.save(7, state.params, state.optimizer, {"validation_loss": 1.5})
    saver.close()
    back = saver.restore(7, shapes.params, shapes.optimizer)
    assert (back.step, back.metrics) == (7, {"validation_loss": 1.5})
    flat = jax.tree.leaves
    for mine, saved in zip(flat((back.params, back.optimizer)), flat(state[:2]), strict=True):
        assert mine.sharding == saved.sharding
        np.testing.assert_array_equal(mine, saved)
    read = checkpoints.load_params(tmp_path)
    np.testing.assert_array_equal(
        read["token_embedder"]["embedding"], state.params["token_embedder"]["embedding"]
    )


def test_another_network_is_refused(tmp_path):
    save(tmp_path, {1: {}})
    wanted = network.parameters(network.abstract_model(CONFIG))
    with pytest.raises(UserError, match="of another network"):
        checkpoints.load_params(tmp_path, wanted=wanted)
    checkpoints.write_config(tmp_path, CONFIG, {})
    wider = T5Config(**{**CONFIG.to_dict(), "mlp_dim": 64, "dropout_rate": 0.1})
    with pytest.raises(UserError, match="mlp_dim 32 there, 64 here"):
        checkpoints.write_config(tmp_path, wider, {})


def test_nothing_there_is_said_plainly(tmp_path):
    with pytest.raises(UserError, match="no checkpoint there"):
        checkpoints.find(tmp_path)
    save(tmp_path, {3: {}})
    with pytest.raises(UserError, match=r"no checkpoint of step 4; have \[3\]"):
        checkpoints.find(tmp_path, 4)
    with pytest.raises(UserError, match=r"no config\.json"):
        checkpoints.read_config(tmp_path)


def test_a_relative_directory_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("runs/some", {1: {}})
    assert checkpoints.steps("runs/some") == [1]
    np.testing.assert_array_equal(checkpoints.load_params("runs/some")["b"], np.ones(2))
