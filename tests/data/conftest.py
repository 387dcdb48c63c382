"""Small prepared sets and a stand-in vocabulary, under an environment of their own."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from t5distill.formats.standin import standin_vocabulary
from t5distill.records import Chain, Problem, write_jsonl


def problem(number, *, benchmark="gsm8k", split="train", **fields):
    question = f"Tom has {number} boxes of {number % 7 + 1} pencils.\n  How many has he < all?"
    answer = str(number * (number % 7 + 1))
    given = dict(
        id=f"{benchmark}-{split}-{number}",
        question=question,
        answer=answer,
        kind="numeric",
        benchmark=benchmark,
        split=split,
        solution=f"He has {number}*{number % 7 + 1} = <<x={answer}>>{answer}.\n#### {answer}",
    )
    return Problem(**{**given, **fields})


def chain_of(problem, *, sample=0, text=None):
    return Chain(
        problem_id=problem.id,
        style="cot",
        text=text or f"Sample {sample}: {problem.answer} it is. The answer is {problem.answer}.",
        teacher="robot",
        sample=sample,
    )


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A data directory: gsm8k with all splits, of 60, 12 and 25 problems."""
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train", 60), ("validation", 12), ("test", 25)):
        write_jsonl(
            root / "gsm8k" / f"{split}.jsonl", (problem(i, split=split) for i in range(count))
        )
    standin_vocabulary(root / "standin.model")
    return root


@pytest.fixture(autouse=True, scope="module")
def environment(prepared):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T5DISTILL_DATA_DIR", str(prepared))
        patch.setenv("T5DISTILL_T5_VOCAB", str(prepared / "standin.model"))
        yield


@pytest.fixture
def make_problem():
    return problem


@pytest.fixture(scope="session")
def make_chain():
    return chain_of
