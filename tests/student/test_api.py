"""`Student`: loading, logits, texts, answers, and none of it with TensorFlow."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

import t5distill
from t5distill import api
from t5distill.errors import UserError
from t5distill.formats import vocabulary as vocabularies
from t5distill.records import Prediction
from t5distill.student import checkpoints, huggingface
from t5distill.student.config import T5Config
from t5distill.student.decoding import Output
from t5distill.student.network import bind, init_parameters

# ByT5's vocabulary needs no file.
CONFIG = T5Config(
    vocab_size=384,
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    mlp_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
)
RECORD = {
    "vocab": {"name": "byt5", "path": None},
    "task": "gsm8k_answer",
    "style": "answer",
    "task_feature_lengths": {"inputs": 64, "targets": 12},
}
# Whatever: a student leaves it unread.
OPTIMIZER = {"count": np.zeros(1)}


@pytest.fixture(scope="module")
def params():
    return init_parameters(CONFIG, 0)


@pytest.fixture(scope="module")
def trained(params, tmp_path_factory):
    """A training directory with two checkpoints, the first of them the best one."""
    directory = tmp_path_factory.mktemp("model")
    checkpoints.write_config(directory, CONFIG, RECORD)
    writer = checkpoints.Checkpoints(directory, keep=2)
    writer.save(1, params, OPTIMIZER, {"validation_accuracy": 0.5})
    doubled = jax.tree.map(lambda x: 2 * x, params)
    writer.save(2, doubled, OPTIMIZER, {"validation_accuracy": 0.1})
    writer.close()
    return directory


@pytest.fixture(scope="module")
def exported(params, tmp_path_factory):
    """A Hugging Face directory."""
    from safetensors.numpy import save_file

    directory = tmp_path_factory.mktemp("hf")
    save_file(huggingface.to_huggingface(params, CONFIG), directory / "model.safetensors")
    obj = huggingface.config_to_huggingface(CONFIG)
    (directory / "config.json").write_text(json.dumps(obj))
    return directory


ENCODER = np.array([[5, 6, 1], [7, 1, 0]])
DECODER = np.array([[0, 9, 8], [0, 4, 1]])


def test_logits_of_both_kinds_of_checkpoint(params, trained, exported):
    wanted = bind(CONFIG, params)(ENCODER.astype(np.int32), DECODER.astype(np.int32))
    for path in (trained, trained / "checkpoint_1", exported):
        logits = t5distill.Student.load(path).logits(ENCODER, DECODER)
        assert logits.shape == (2, 3, 384) and logits.dtype == np.float32
        np.testing.assert_allclose(logits, wanted, atol=1e-5)


def test_which_checkpoint(params, trained):
    def embedding(**kwargs):
        return np.asarray(api.Student.load(trained, **kwargs).params["token_embedder"]["embedding"])

    one = np.asarray(params["token_embedder"]["embedding"])
    np.testing.assert_array_equal(embedding(), one)
    np.testing.assert_array_equal(embedding(step="best"), one)
    np.testing.assert_array_equal(embedding(step=2), 2 * one)
    with pytest.raises(UserError, match="no checkpoint of step 3"):
        embedding(step=3)


def test_what_a_checkpoint_says_of_itself(trained, exported):
    student = api.Student.load(trained)
    assert student.style == "answer" and student.lengths == {"inputs": 64, "targets": 12}
    assert isinstance(student.vocabulary, vocabularies.ByteVocabulary)
    assert isinstance(api.Student.load(exported).vocabulary, vocabularies.ByteVocabulary)
    assert api.Student.load(trained, dtype="bfloat16").config.dtype == "bfloat16"


def test_generate(trained):
    student = api.Student.load(trained)
    seen = {}
    found = student.generate(
        ["a", "bcd"], max_tokens=5, num_samples=2, temperature=1.0, progress=seen.__setitem__
    )
    assert [[p.sample for p in row] for row in found] == [[0, 1], [0, 1]]
    assert [[p.problem_id for p in row] for row in found] == [["0", "0"], ["1", "1"]]
    assert [seen[0], seen[1]] == found
    again = student.generate(["bcd"], indices=[1], max_tokens=5, num_samples=2, temperature=1.0)
    assert [p.text for p in again[0]] == [p.text for p in found[1]]
    assert student.generate([], max_tokens=5) == []


def test_generate_adds_eos_and_decodes(trained, monkeypatch):
    student = api.Student.load(trained)

    def generate_tokens(params, config, inputs, *, progress, **settings):
        assert inputs == [[100, 101, 1]] and settings["max_tokens"] == 7
        progress(0, [Output(tokens=[75, 108], finished=False)])

    monkeypatch.setattr(api, "generate_tokens", generate_tokens)
    [[found]] = student.generate(["ab"], max_tokens=7)
    assert found == Prediction(
        problem_id="0", text="Hi", sample=0, finished=False, meta={"tokens": 2}
    )


def test_solve(trained, monkeypatch):
    student = api.Student.load(trained)
    asked = []

    def generate(texts, *, max_tokens, calculator):
        asked.append((texts, max_tokens))
        return [[Prediction(problem_id="0", text="The answer is 72.")]]

    monkeypatch.setattr(student, "generate", generate)
    verdict = student.solve("How many?")
    assert (verdict.answer, verdict.outcome, verdict.extraction) == ("72", None, "marker")
    assert asked == [(["Q: How many?\nA:"], 12)]
    student.solve("How many?", style="cot", max_tokens=99)
    assert asked[1] == (["Q: How many?\nA: Let's think step by step."], 99)
    with pytest.raises(UserError, match="kind is 'number'"):
        student.solve("How many?", kind="number")
    with pytest.raises(UserError, match="question is a list"):
        student.solve(["How many?"])
    student.style, student.task = None, "etd_gsm8k"
    with pytest.raises(UserError, match="several styles"):
        student.solve("How many?")


def test_solve_without_an_answer(trained, monkeypatch):
    student = api.Student.load(trained)
    cut = [[Prediction(problem_id="0", text="First", finished=False)]]
    monkeypatch.setattr(student, "generate", lambda texts, **settings: cut)
    verdict = student.solve("How many?")
    assert verdict.outcome is None and verdict.answer is None and verdict.detail


def test_fingerprint_sees_every_change(params):
    def fingerprint(tree, config=CONFIG):
        return api.Student(tree, config).fingerprint()

    first = fingerprint(params)
    assert fingerprint(jax.tree.map(np.asarray, params)) == first
    changed = jax.tree.map(np.array, params)
    changed["encoder"]["encoder_norm"]["scale"][3] += 1e-7
    assert fingerprint(changed) != first
    other = T5Config(**{**CONFIG.to_dict(), "relative_attention_max_distance": 64})
    assert fingerprint(params, other) != first


def test_no_vocabulary_and_a_given_one(params, exported, tmp_path):
    with pytest.raises(UserError, match="does not say which vocabulary"):
        api.Student(params, CONFIG).generate(["a"], max_tokens=2)
    student = api.Student.load(exported, vocabulary="byt5")
    assert student.vocabulary.encode("a") == [100]
    own = vocabularies.ByteVocabulary()
    assert api.Student.load(exported, vocabulary=own).vocabulary is own
    # A vocabulary that is missing does not keep logits from being computed.
    lost = api.Student.load(exported, vocabulary=str(tmp_path / "lost.model"))
    lost.logits(ENCODER, DECODER)
    with pytest.raises(UserError, match=r"lost\.model"):
        lost.vocabulary.encode("a")


def test_what_is_no_checkpoint(tmp_path, exported):
    with pytest.raises(UserError, match="no such directory"):
        api.Student.load(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no config\.json"):
        api.Student.load(tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"")
    with pytest.raises(UserError, match="not a T5X checkpoint, or cut off"):
        api.Student.load(tmp_path)
    (tmp_path / "config.json").write_text((exported / "config.json").read_text())
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        api.Student.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"depth": 3}}))
    with pytest.raises(UserError, match="unknown field depth"):
        api.Student.load(tmp_path)


def test_a_checkpoint_of_another_shape(trained, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "checkpoint_1").symlink_to(trained / "checkpoint_1")
    model = {**CONFIG.to_dict(), "mlp_dim": 9}
    (other / "config.json").write_text(json.dumps({"model": model}))
    with pytest.raises(UserError, match="another network"):
        api.Student.load(other)


def test_a_student_answers_without_tensorflow(trained):
    script = f"""
import sys
import t5distill
import t5distill.student
heavy = [m for m in ("jax", "tensorflow", "seqio", "clu") if m in sys.modules]
assert not heavy, heavy
student = t5distill.Student.load({str(trained)!r})
student.logits([[5, 1]], [[0, 3]])
student.generate(["x"], max_tokens=2)
student.solve("x", max_tokens=2)
heavy = [m for m in ("tensorflow", "seqio", "clu", "torch", "transformers") if m in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
