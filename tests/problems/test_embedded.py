"""Embedded word problems: their arithmetic, their keys, their wrong chains."""

import random
import re

import pytest

from t5distill.errors import UserError
from t5distill.problems import embedded, splitting, templates

EQUATION = re.compile(r"(\d+) ([+\-*/]) (\d+) = (\d+)")
NUMBER = re.compile(r"\d+")


@pytest.fixture(scope="module")
def splits():
    return embedded.splits(7, train=2600, validation=300, test=300, held_out=300)


@pytest.fixture(scope="module")
def problems(splits):
    return [problem for group in splits.values() for problem in group]


def worked(op, left, right):
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[op]


def equations(text):
    return [(int(a), op, int(b), int(c)) for a, op, b, c in EQUATION.findall(text)]


def test_there_are_enough_templates_of_every_length():
    in_domain, held_out = templates.load("in_domain"), templates.load("held_out")
    assert len(in_domain) >= 24
    assert len(held_out) >= 8
    for group in (in_domain, held_out):
        assert {len(t.steps) for t in group} == {2, 3, 4}
        assert sum(len(t.steps) == 3 for t in group) >= len(group) / 2 - 1
    assert len({t.id for t in in_domain + held_out}) == len(in_domain) + len(held_out)


def test_held_out_templates_have_other_structures():
    seen = {t.structure() for t in templates.load("in_domain")}
    assert not seen & {t.structure() for t in templates.load("held_out")}


@pytest.mark.parametrize("group", templates.GROUPS)
def test_every_number_and_every_step_is_needed(group):
    for template in templates.load(group):
        operands = [name for step in template.steps for name in (step.left, step.right)]
        needed = {*template.ranges, *(step.name for step in template.steps[:-1])}
        assert set(operands) == needed, template.id
        for wording in template.wordings:
            for name in template.ranges:
                assert wording.count(f"{{{name}}}") == 1, (template.id, name)
        for step in template.steps:
            assert step.statement.count("{eq}") == 1
            assert not NUMBER.search(step.statement.replace("{eq}", ""))
            assert step.question.endswith("?")


def test_every_equation_is_right_and_the_last_one_gives_the_answer(problems):
    for problem in problems:
        found = equations(problem.solution)
        steps = problem.meta["steps"]
        assert len(found) == len(steps) in (2, 3, 4)
        assert problem.solution == " ".join(step["statement"] for step in steps)
        for (left, op, right, value), step in zip(found, steps, strict=True):
            assert worked(op, left, right) == value == step["value"]
            assert op == step["op"]
        assert problem.answer == str(found[-1][3])
        assert problem.kind == "numeric"


def test_the_program_in_meta_gives_the_answer(problems):
    for problem in problems:
        known = {}
        for step in problem.meta["steps"]:
            left, right = (
                known[x] if isinstance(x, str) else x for x in (step["left"], step["right"])
            )
            known[step["name"]] = worked(step["op"], left, right)
        assert list(known.values())[-1] == int(problem.answer)
        assert len(known) == len(problem.meta["steps"])


def test_the_numbers_stay_small(problems):
    values = []
    for problem in problems:
        for left, op, right, value in equations(problem.solution):
            values.append(value)
            assert 0 <= value <= 200
            if op in "+-":
                assert max(left, right) < 100
            else:
                factors = sorted((left, right) if op == "*" else (value, right))
                assert factors[0] <= 9 and factors[1] <= 12
    assert sum(value < 100 for value in values) > 0.95 * len(values)


def test_the_question_holds_exactly_its_numbers_and_not_its_answer(problems):
    for problem in problems:
        said = sorted(map(int, NUMBER.findall(problem.question)))
        assert said == sorted(problem.meta["numbers"])
        assert int(problem.answer) not in said
        assert "{" not in problem.question + problem.solution
        assert problem.question[0] == problem.question[0].upper()


def test_no_key_and_no_question_occurs_twice(splits, problems):
    keys = [embedded.key(problem) for problem in problems]
    assert len(set(keys)) == len(keys)
    splitting.refuse_overlap(
        {name: group for name, group in splits.items() if name != "held_out"}, benchmark="embedded"
    )
    held_out = {problem.meta["template"] for problem in splits["held_out"]}
    assert held_out == {t.id for t in templates.load("held_out")}
    assert not held_out & {p.meta["template"] for p in splits["train"]}


def test_names_of_benchmarks_splits_and_ids(splits):
    assert splits["train"][17].id == "embedded-train-00017"
    assert splits["held_out"][0].id == "embedded_held_out-test-00000"
    for name, group in splits.items():
        wanted = ("embedded_held_out", "test") if name == "held_out" else ("embedded", name)
        assert {(p.benchmark, p.split) for p in group} == {wanted}


def test_templates_are_drawn_equally_often(splits):
    drawn = [problem.meta["template"] for problem in splits["train"]]
    assert all(abs(drawn.count(t.id) - 100) <= 1 for t in templates.load("in_domain"))


def test_the_same_seed_gives_the_same_and_test_does_not_depend_on_train():
    once = embedded.splits(3, train=50, validation=10, test=20, held_out=5)
    again = embedded.splits(3, train=90, validation=10, test=20, held_out=5)
    assert once["test"] == again["test"]
    assert once["validation"] == again["validation"]
    assert once["train"] == again["train"][:50]
    assert embedded.splits(4, train=50, validation=10, test=20, held_out=5) != once


def test_excluded_keys_do_not_occur():
    first = embedded.generate(count=200, seed=1, split="train")
    taken = set(map(embedded.key, first))
    second = embedded.generate(count=200, seed=1, split="train", exclude=taken)
    assert not taken & set(map(embedded.key, second))


def test_more_than_there_are_is_an_error_of_the_user(monkeypatch):
    only = [t for t in templates.load("in_domain") if t.id == "gifts_for_children"]
    monkeypatch.setattr(templates, "load", lambda group: tuple(only))
    with pytest.raises(UserError, match="no more than"):
        embedded.generate(count=5000, seed=0, split="train")


def test_an_unknown_group_is_an_error_of_the_user():
    with pytest.raises(UserError, match="in_domain, held_out"):
        embedded.generate(count=1, seed=0, split="train", templates="outside")


def test_a_corrupted_chain_has_one_wrong_step_and_a_wrong_end(problems):
    rng = random.Random(0)
    wrong_at = set()
    for problem in problems:
        chain = embedded.corrupted(problem, rng).solution
        found = equations(chain)
        wrong = [i for i, (a, op, b, c) in enumerate(found) if worked(op, a, b) != c]
        assert len(wrong) == 1
        assert len(found) == len(problem.meta["steps"])
        assert found[-1][3] != int(problem.answer)
        # Everything before the mistake is right; everything after it uses the wrong value.
        assert found[: wrong[0]] == equations(problem.solution)[: wrong[0]]
        assert re.sub(r"\d+", "0", chain) == re.sub(r"\d+", "0", problem.solution)
        wrong_at.add((wrong[0], len(found)))
    assert {(0, 3), (1, 3), (2, 3)} <= wrong_at


def test_corrupted_chains_come_from_the_given_generator(problems):
    once = [embedded.corrupted(p, random.Random(5)) for p in problems[:20]]
    again = [embedded.corrupted(p, random.Random(5)) for p in problems[:20]]
    assert once == again


def test_an_operation_outside_the_limits_is_refused():
    assert templates.apply("*", 12, 9) == 108
    assert templates.apply("*", 12, 10) is None
    assert templates.apply("/", 108, 9) == 12
    assert templates.apply("/", 10, 3) is None
    assert templates.apply("/", 10, 0) is None
    assert templates.apply("+", 99, 99) == 198
    assert templates.apply("+", 100, 5) is None
    assert templates.apply("-", 5, 9) is None
    assert templates.apply("-", 5, 5) is None
