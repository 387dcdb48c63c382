"""What `infer` and `eval` say of a student that does not fit what it is asked."""

import pytest

from t5distill.decoder import Decoder
from t5distill.errors import UserError
from t5distill.evaluate.inference import Inference
from t5distill.formats.standin import standin_vocabulary
from t5distill.formats.vocabulary import SAVED_MODEL


class Taught:
    def __init__(self, style):
        self.style, self.task = style, f"b_{style}"


class Asked:
    problems_path = "problems.jsonl"

    def __init__(self, style):
        self.style = style

    def pool(self):
        return ()


@pytest.fixture
def decode(monkeypatch, tmp_path, capsys):
    def run(taught, asked, **done):
        def infer(**settings):
            return Inference(problems=1, reused=0, tokens=0, wall_s=1.0, **done)

        monkeypatch.setattr("t5distill.decoder.infer", infer)
        decoder = Decoder(
            checkpoint_path="x",
            task="gsm8k_cot",
            task_module="t5distill.tasks",
            feature_lengths={"inputs": 8, "targets": 8},
            vocab="byt5",
        )
        decoder.decode((Taught(taught), None), Asked(asked), tmp_path / "p.jsonl")
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("taught", "asked", "odd"),
    [
        ("cot", "cot", False),
        ("program", "equation", True),
        ("cot", "cot_in_context", True),
        ("socratic", "socratic_iterative", True),
        ("socratic_solve", "socratic", False),
        ("step_by_step_30", "step_by_step", False),
        (None, "program", False),
    ],
)
def test_a_student_that_was_taught_otherwise(decode, taught, asked, odd):
    said = decode(taught, asked)
    assert (f"was taught style {taught}" in said and f"asked as {asked}" in said) == odd


def test_what_was_set_aside_is_named(decode):
    assert "is now a.old.jsonl, b" in decode("cot", "cot", set_aside=("a.old.jsonl", "b"))


def test_another_vocabulary_than_the_student_s_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("T5DISTILL_T5_VOCAB", "")  # the decoder's choice ends with this test
    student = tmp_path / "student"
    (student / "checkpoint_5").mkdir(parents=True)
    model = standin_vocabulary(tmp_path / "given.model")
    (student / SAVED_MODEL).write_bytes(b"another")
    decoder = Decoder(
        checkpoint_path=str(student / "checkpoint_5"),
        task="gsm8k_cot",
        task_module="t5distill.tasks",
        feature_lengths={"inputs": 8, "targets": 8},
        vocab_path=str(model),
    )
    with pytest.raises(UserError, match="leave VOCAB_PATH unset"):
        decoder.load()
