"""What a student reads and writes, style by style."""

import pytest

from t5distill import formats
from t5distill.errors import UserError
from t5distill.formats.conversation import Talk
from t5distill.records import Chain, Problem


def problem(**fields):
    given = dict(
        id="p", question="How many?", answer="72", kind="numeric", benchmark="b", split="train"
    )
    return Problem(**{**given, **fields})


def chain(text):
    return Chain(problem_id="p", style="cot", text=text, teacher="t")


def test_inputs():
    assert formats.style("answer").inputs(problem()) == "Q: How many?\nA:"
    assert formats.style("cot").inputs(problem()) == "Q: How many?\nA: Let's think step by step."


def test_choices_stand_between_question_and_answer():
    with_choices = problem(question="Which? ", choices=["red", "", "blue"], kind="choice")
    assert formats.style("answer").inputs(with_choices) == (
        "Q: Which?\nOptions: (A) red (B) (C) blue\nA:"
    )


def test_letters_go_on_after_z():
    assert [formats.answer.letter(i) for i in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]


def test_answer_targets():
    targets = formats.style("answer").targets
    assert targets(problem(), chain("whatever")) == "The answer is 72."
    assert targets(problem(kind="choice", answer="B"), None) == "The answer is (B)."
    assert targets(problem(kind="yes_no", answer="yes"), None) == "The answer is yes."


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (
            "She sold 48/2 = <<48/2=24>>24.\nIn all 48+24 = <<48+24=72>>72.\n#### 72",
            "She sold 48/2 = 24.\nIn all 48+24 = 72. The answer is 72.",
        ),
        ("48 + 24 = 72. The answer is 72.", "48 + 24 = 72. The answer is 72."),
        ("So the answer is (d) math problem.\n\n", "So the answer is (d) math problem."),
        ("Thus **Answer: 72**", "Thus **Answer: 72**"),
        ("Hence $x = \\boxed{72}$.", "Hence $x = \\boxed{72}$."),
        ("It is 1.5 * 48. The answer is 72.0.", "It is 1.5 * 48. The answer is 72.0."),
        (
            "He did 84 / 2. The answer is (84 / 2).\n\nQ: There are 120\nA: The answer is (120 /",
            "He did 84 / 2. The answer is (84 / 2).",
        ),
        # A marker that more reasoning follows does not end the chain.
        (
            "The answer is easy. Take 48 and 24.",
            "The answer is easy. Take 48 and 24. The answer is 72.",
        ),
        ("#### 72", "The answer is 72."),
        ("", "The answer is 72."),
    ],
)
def test_cot_targets(text, target):
    assert formats.style("cot").targets(problem(), chain(text)) == target


def test_cot_without_a_chain_is_the_answer():
    assert formats.style("cot").targets(problem(), None) == "The answer is 72."


def test_gold_solutions_become_chains():
    gold = formats.gold_chain(problem(solution="48 + 24 = 72\n#### 72"), style="cot")
    assert gold is not None
    assert (gold.problem_id, gold.teacher, gold.style) == ("p", "gold", "cot")
    assert formats.gold_chain(problem(), style="cot") is None
    assert formats.gold_chain(problem(solution=" "), style="cot") is None


def test_an_unknown_style_is_the_users_mistake():
    with pytest.raises(UserError, match="known: answer, "):
        formats.style("haiku")


SAID = "He sells 3 * 24 = 72 clips.\nSo the answer is 72."


def test_a_rationale_is_a_chain_without_its_answer():
    assert formats.cot.rationale(SAID) == "He sells 3 * 24 = 72 clips."
    assert formats.cot.rationale("3 * 24 = 72. The answer is 72.") == "3 * 24 = 72."
    assert formats.cot.rationale("3 * 24 = 72.\n#### 72") == "3 * 24 = 72."
    # A chain that is nothing else stays.
    assert formats.cot.rationale("The answer is 72.") == "The answer is 72."


@pytest.mark.parametrize(
    ("name", "weights"), [("step_by_step", (500, 500)), ("step_by_step_30", (300, 700))]
)
def test_step_by_step_weighs_answer_and_rationale(name, weights):
    style = formats.style(name)
    assert style.examples(problem(), chain(SAID)) == [
        ("predict: Q: How many?", "The answer is 72.", weights[0]),
        ("explain: Q: How many?", "He sells 3 * 24 = 72 clips.", weights[1]),
    ]
    assert next(style.converse(problem())).text == "predict: Q: How many?"


def test_rationale_then_answer():
    explain, conclude = formats.style("sci_cot").examples(problem(), chain(SAID))
    talk = Talk(formats.style("sci_cot").converse(problem()))
    assert (talk.pending.text, talk.pending.first) == (explain.inputs, True)
    talk.answer(explain.targets)
    assert (talk.pending.text, talk.pending.first) == (conclude.inputs, False)
    talk.answer(conclude.targets)
    assert talk.text == "He sells 3 * 24 = 72 clips.\nThe answer is 72."
    for role, example in (("rationale", explain), ("answer", conclude)):
        assert formats.style(f"sci_cot_{role}").examples(problem(), chain(SAID)) == [example]


def test_executed_styles_take_code_out_of_its_fence():
    text = "Here it is:\n```python\nans = 3 * 24\n```\nThat is all."
    for name in ("program", "equation"):
        assert formats.style(name).targets(problem(), chain(text)) == "ans = 3 * 24"
        assert formats.style(name).targets(problem(), None) == "ans = 72"
    assert formats.style("program").targets(problem(kind="choice", answer="B"), None) == "ans = 'B'"


@pytest.mark.parametrize("name", [n for n, s in formats.STYLES.items() if not s.shows])
def test_every_style_asks_what_it_teaches(name):
    """The first input of a conversation is one that some example of the style has."""
    style = formats.style(name)
    texts = {
        "cot": SAID,
        "program": "ans = 3 * 24",
        "equation": "ans = 3 * 24",
        "socratic": "How many? ** 3 * 24 = 72.\n#### 72",
        "key_points": "Core question: How many?\nGiven: 3 * 24.\nSolution: The answer is 72.",
    }
    if style.drawn is not None or name.endswith(("_solve", "_answer")):
        return
    inputs = [e.inputs for e in style.examples(problem(), chain(texts[style.chains]))]
    assert next(style.converse(problem())).text in inputs
    assert style.inputs(problem()) in inputs
