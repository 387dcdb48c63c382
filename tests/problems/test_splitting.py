"""Splits: disjoint, of the asked size, the same for the same seed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5distill.errors import UserError
from t5distill.problems import splitting
from t5distill.records import Problem


def problem(number, question, *, choices=None, answer="1"):
    return Problem(
        id=f"p-{number}",
        question=question,
        answer=answer,
        kind="numeric" if choices is None else "choice",
        benchmark="p",
        split="train",
        choices=choices,
    )


def numbered(questions):
    return [problem(i, f"question {q}") for i, q in enumerate(questions)]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Joan found 70 shells on the beach . She", "joan found 70  shells on the beach. she"),
        ("Sara 's team won", "Sara’s team won"),
        ("How many?", "How many ?"),
        ("ﬁve apples", "five apples"),
    ],
)
def test_the_same_question_in_another_dress(left, right):
    assert splitting.normalised(left) == splitting.normalised(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [("5 - 3", "5 + 3"), ("7 apples", "8 apples"), ("[ ( ]", "[ ) ]"), ("not True", "True")],
)
def test_other_questions_stay_other(left, right):
    assert splitting.normalised(left) != splitting.normalised(right)


def test_options_belong_to_the_question():
    one = problem(1, "Which is sarcastic?", choices=["a dog", "a cat"])
    two = problem(2, "Which is sarcastic?", choices=["A cat", "a dog"])
    other = problem(3, "Which is sarcastic?", choices=["a dog", "a cow"])
    assert splitting.identity(one) == splitting.identity(two) != splitting.identity(other)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(0, 80), st.integers())
def test_carving_never_parts_a_group(questions, count, seed):
    problems = numbered(questions)
    taken, rest = splitting.carve(problems, count, key=str(seed))
    assert sorted(p.id for p in taken + rest) == sorted(p.id for p in problems)
    assert not {p.question for p in taken} & {p.question for p in rest}
    assert len(taken) <= count
    assert taken == sorted(taken, key=problems.index)
    assert (taken, rest) == splitting.carve(problems, count, key=str(seed))


def test_carving_meets_the_count_although_there_are_duplicates():
    problems = numbered([*range(580), *range(20)])
    taken, rest = splitting.carve(problems, 180, key="multiarith")
    assert (len(taken), len(rest)) == (180, 420)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(2, 7))
def test_folds_partition(questions, folds):
    problems = numbered(questions)
    parts = [splitting.fold(problems, folds, i, key="k") for i in range(folds)]
    assert sorted(p.id for test, _ in parts for p in test) == sorted(p.id for p in problems)
    for test, rest in parts:
        assert len(test) + len(rest) == len(problems)
        assert not {p.question for p in test} & {p.question for p in rest}


def test_fold_sizes_are_even():
    problems = numbered(range(2305))
    assert [len(splitting.fold(problems, 5, i, key="k")[0]) for i in range(5)] == [461] * 5


def test_shares_round_halves_up():
    assert [splitting.share(n, 0.3) for n in (395, 508, 600, 1000)] == [119, 152, 180, 300]


def test_official_overlap_is_refused_and_can_cost_train():
    splits = {
        "train": numbered([1, 2, 3]),
        "validation": [problem(8, "Question 3.")],
        "test": [problem(9, "QUESTION 1")],
    }
    with pytest.raises(UserError, match=r"2 questions of the official training file.*p-0"):
        splitting.drop_overlap(splits, benchmark="p", allow=False)
    kept, dropped = splitting.drop_overlap(splits, benchmark="p", allow=True)
    assert dropped == 2
    assert [p.id for p in kept["train"]] == ["p-1"]
    assert kept["test"] == splits["test"] and kept["validation"] == splits["validation"]


def test_validation_and_test_may_never_overlap():
    splits = {"validation": numbered([1]), "test": [problem(9, "question 1")]}
    with pytest.raises(UserError, match="validation and test files share 1"):
        splitting.drop_overlap(splits, benchmark="p", allow=True)


def test_what_is_written_is_checked():
    with pytest.raises(UserError, match=r"p-0 \(train\) and p-9 \(test\)"):
        splitting.refuse_overlap(
            {"train": numbered([1]), "test": [problem(9, "question 1")]}, benchmark="p"
        )
    with pytest.raises(UserError, match="the id p-0 occurs twice"):
        splitting.refuse_overlap(
            {"train": numbered([1]), "test": [problem(0, "question 2")]}, benchmark="p"
        )


def test_duplicates_within_one_split_are_kept():
    splits = {"train": numbered([1, 1])}
    splitting.refuse_overlap(splits, benchmark="p")
    assert [p.question for p in splits["train"]] == ["question 1", "question 1"]


def test_labels_say_where_a_problem_went():
    labelled = splitting.label({"test": numbered([1]), "train": numbered([2]), "validation": []})
    assert list(labelled) == ["train", "test"]
    assert labelled["test"][0].split == "test"
