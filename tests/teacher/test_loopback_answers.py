"""What the loopback teacher writes, without sockets: right, or wrong where that is asked for."""

import collections
import dataclasses
import math
import random
from fractions import Fraction

import pytest

from t5distill.errors import UserError
from t5distill.problems import embedded, templates
from t5distill.records import STYLES
from t5distill.teacher.loopback.answers import (
    MALFORMED,
    STYLE_MARKERS,
    UNKNOWN,
    Writer,
    _malform,
    wanted_style,
)
from t5distill.teacher.loopback.questions import Questions
from t5distill.verify import judge

DRAWS = ("", "1 0", "1 1", "2 0", "2 1")


def correct(text, problem):
    return judge(text, problem.answer, problem.kind).outcome == "correct"


def value(text, style):
    """Return what an answer comes to, by plain means that share nothing with the writer."""
    if style == "program":
        scope = {}
        exec(text, scope)
        return Fraction(scope["solution"]())
    if style == "equation":
        scope = {}
        for line in text.splitlines():
            name, _, right = line.partition(" = ")
            scope[name] = eval(right, {}, scope)
        return Fraction(scope["ans"])
    if style == "socratic":
        return Fraction(text.rpartition("\n#### ")[2])
    return Fraction(text.rpartition("nswer is ")[2].rstrip("."))


@pytest.mark.parametrize("style", STYLES)
def test_answers_are_right_in_every_style_and_wording(problems, style):
    for problem in problems:
        texts = {Writer().text(problem, style, draw) for draw in DRAWS}
        for text in texts:
            assert value(text, style) == Fraction(problem.answer), text
            if style in ("answer", "cot", "socratic", "key_points"):
                assert correct(text, problem), text
    assert len(texts) > 1


def test_greedy_decoding_words_a_chain_as_the_problem_does(problems):
    for problem in problems:
        chain = f"{problem.solution} The answer is {problem.answer}."
        assert Writer().text(problem, "cot") == chain


def test_socratic_lines_are_question_and_equation(problems):
    for problem in problems:
        *lines, final = Writer().text(problem, "socratic", "5 0").splitlines()
        assert final == f"#### {problem.answer}"
        for line, step in zip(lines, problem.meta["steps"], strict=True):
            question, _, answer = line.partition(" ** ")
            assert question == step["question"]
            assert f" = {step['value']} " in answer


def test_samples_differ_in_wording_but_not_all(problems):
    texts = [Writer().text(problems[0], "cot", f"None {i}") for i in range(40)]
    assert 5 <= len(set(texts)) <= 12


@pytest.mark.parametrize("style", STYLES)
def test_the_wrong_rate_holds_and_wrong_answers_are_wrong(problems, style):
    writer = Writer(seed=5, wrong_rate=0.3)
    wrong = 0
    for problem in problems:
        for draw in DRAWS:
            wrong += value(writer.text(problem, style, draw), style) != Fraction(problem.answer)
    n = len(problems) * len(DRAWS)
    assert abs(wrong - 0.3 * n) < 4 * math.sqrt(0.3 * 0.7 * n)


@pytest.mark.parametrize("make", [embedded.corrupted, embedded.misread])
def test_a_wrong_problem_is_wrong_in_all_that_is_derived_from_it(problems, make):
    for problem in problems:
        other = make(problem, random.Random(problem.id))
        assert other.answer != problem.answer
        assert other.meta["steps"][-1]["value"] == int(other.answer)
        assert other.solution == " ".join(s["statement"] for s in other.meta["steps"])
        assert f"= {other.answer} " in other.solution
        assert problem.meta["steps"][-1]["value"] == int(problem.answer), "changed in place"


def test_a_misread_program_works_out_to_its_wrong_answer(problems):
    for problem in problems:
        other = embedded.misread(problem, random.Random(problem.id))
        assert value(Writer().text(other, "program"), "program") == Fraction(other.answer)


def test_every_kind_of_malformed_answer_lacks_what_it_should(problems):
    rng = random.Random(1)
    for problem in problems:
        body, mark = problem.solution, f" The answer is {problem.answer}."
        for how in MALFORMED:
            text = _malform(problem, "cot", body, mark, how, rng)
            if how == "cut":
                assert (body + mark).startswith(text)
                assert text[-1] not in ".\n"
            elif how == "unmarked":
                assert "answer is" not in text
            elif how == "run_on":
                assert text.startswith(body + mark + "\n\nQ: ")
            else:
                assert "as the answer is given" in text.lower()


def test_the_malformed_rate_holds(problems):
    writer, plain = Writer(seed=2, malformed_rate=0.25), Writer(seed=2)
    n = len(problems)
    changed = sum(writer.text(p, "cot") != plain.text(p, "cot") for p in problems)
    assert abs(changed - 0.25 * n) < 4 * math.sqrt(0.25 * 0.75 * n)


@pytest.mark.parametrize(
    ("prompt", "style"),
    [
        ("Q: ...\nA:", "cot"),
        ("Q: ...\nA: Let's think step by step.", "cot"),
        ("Give only the answer.", "answer"),
        ("Write a Python program that works it out.", "program"),
        ("Write a system of equations, one a line.", "equation"),
        ("Ask a sub-question, then answer it with an equation.", "socratic"),
    ],
)
def test_the_style_is_read_from_the_instruction(prompt, style):
    assert wanted_style(prompt) == style


def test_no_embedded_problem_asks_for_a_style_by_its_words():
    markers = [marker for _, row in STYLE_MARKERS for marker in row]
    for group in templates.GROUPS:
        for template in templates.load(group):
            for told in (*template.wordings, *(s.statement for s in template.steps)):
                assert not [m for m in markers if m in told.lower()]


def test_rates_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"wrong_rate is 1\.5"):
        Writer(wrong_rate=1.5)


def test_the_last_question_of_a_prompt_is_found(problems):
    questions = Questions(problems)
    first, second = problems[0], problems[-1]
    shots = f"Q: {first.question}\nA: {first.solution} The answer is {first.answer}.\n\n"
    for ending in (
        f"Q: {second.question}\nA:",
        f"Question:  {second.question.replace(' ', chr(10), 1)}\nAnswer:",
        f'Now solve "{second.question}" in the same way.',
    ):
        assert questions.last([shots + ending]) is second, ending
    assert questions.last([shots, f"{second.question} Think."]) is second
    # The second stage of zero-shot chains: the question stands in an earlier message.
    assert questions.last([f"Q: {second.question}", "So what is the answer?"]) is second


def test_an_example_is_not_answered_instead_of_an_unknown_question(problems):
    shots = f"Q: {problems[0].question}\nA: {problems[0].solution}\n\n"
    assert Questions(problems).last([shots + "Q: How many roads are there?\nA:"]) is None
    assert Writer().text(None, "cot") == UNKNOWN


def test_every_problem_is_found_with_and_without_a_marker(problems):
    questions = Questions(problems)
    for problem in problems:
        assert questions.last([f"Q: {problem.question}\nA:"]) is problem
        assert questions.last([f"Please: {problem.question} Thanks."]) is problem


def test_problems_that_cannot_be_answered_are_refused(problems):
    with pytest.raises(UserError, match="no program"):
        Questions([dataclasses.replace(problems[0], meta={})])
    with pytest.raises(UserError, match="two answers"):
        Questions([problems[0], dataclasses.replace(problems[0], id="other", answer="1")])
    with pytest.raises(UserError, match="no problems"):
        Questions([])


@pytest.mark.parametrize("style", STYLES)
def test_the_wordings_are_what_is_written_each_as_often_as_said(problems, style):
    n = 1200
    for problem in problems[:3]:
        wordings = dict(Writer().wordings(problem, style))
        assert sum(wordings.values()) == pytest.approx(1.0)
        assert Writer().text(problem, style) in wordings
        seen = collections.Counter(Writer().text(problem, style, str(i)) for i in range(n))
        assert seen.keys() == wordings.keys()
        for text, p in wordings.items():
            assert abs(seen[text] - n * p) < 5 * math.sqrt(n * p * (1 - p)), text


def test_more_wordings_than_can_be_listed_are_none(problems):
    assert Writer().wordings(None, "cot") == [(UNKNOWN, 1.0)]
    steps = problems[0].meta["steps"][:1]
    for n, wanted in ((10, 1024), (11, 0)):
        long = dataclasses.replace(problems[0], meta={**problems[0].meta, "steps": steps * n})
        assert len(Writer().wordings(long, "socratic")) == wanted
