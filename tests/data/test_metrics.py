"""Accuracy and outcomes, through SeqIO's own evaluator."""

import numpy as np
import pytest
import seqio

from t5distill import tasks  # noqa: F401 (registers)
from t5distill.data import metrics
from t5distill.formats import vocabulary
from t5distill.records import OUTCOMES


def target(answer, kind="numeric", **more):
    return {"answer": answer, "kind": kind, "choices": None, **more}


def test_shares():
    shares = metrics.outcome_shares(
        [target("5"), target("5"), target("5"), target("B", "choice", choices=["x", "y"])],
        ["The answer is 5.", "The answer is 6.", "no idea", "The answer is (B)."],
    )
    assert shares["accuracy"] == shares["outcome/correct"] == 50.0
    assert shares["outcome/wrong"] == shares["outcome/no_answer"] == 25.0
    assert set(shares) == {"accuracy", *(f"outcome/{outcome}" for outcome in OUTCOMES)}
    assert sum(shares.values()) - shares["accuracy"] == pytest.approx(100)


def test_an_output_cut_off_without_an_answer_is_truncated():
    shares = metrics.outcome_shares(
        [target("5", finished=False), target("5", finished=False)],
        ["First we add 2 and", "The answer is 5. And then"],
    )
    assert shares["outcome/truncated"] == shares["outcome/correct"] == 50.0


@pytest.mark.parametrize(
    ("tokens", "finished"),
    [([5, 6, 1], True), ([5, 1, 0], True), ([5, 0, 0], True), ([5, 6, 7], False), ([], True)],
)
def test_finished_outputs_end_by_themselves(tokens, finished):
    assert metrics.is_finished(np.array(tokens, np.int32)) is finished


def evaluate(outputs):
    """Evaluate `outputs` (ids for each example) with SeqIO's evaluator."""
    evaluator = seqio.Evaluator(
        "gsm8k_cot",
        seqio.EncDecFeatureConverter(pack=False),
        eval_split="test",
        sequence_length={"inputs": 128, "targets": 64},
    )

    def predict(dataset):
        indices = [int(index) for index, _ in dataset.as_numpy_iterator()]
        return [(index, outputs[index]) for index in indices]

    future, _ = evaluator.evaluate(compute_metrics=True, step=0, predict_fn=predict)
    return future.result()["gsm8k_cot"]


def test_the_evaluator_reports_accuracy_and_outcomes():
    plain = vocabulary.load("t5")
    answers = [str(i * (i % 7 + 1)) for i in range(25)]

    def output(text, *, end=True):
        ids = plain.encode(text) + ([1] if end else [])
        return (ids + [0] * 60)[:60] if end else (ids * 60)[:60]

    right = [output(f"Tom counts.\nThe answer is {answer}.") for answer in answers[:15]]
    wrong = [output("The answer is 99999.")] * 5
    cut = [output("Then Tom counts", end=False)] * 5
    result = evaluate(right + wrong + cut)
    assert result["accuracy"] == pytest.approx(60)
    assert result["outcome/wrong"] == pytest.approx(20)
    assert result["outcome/truncated"] == pytest.approx(20)
