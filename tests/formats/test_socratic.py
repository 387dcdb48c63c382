"""Sub-questions and solutions: what is learnt of a chain, and how a student is led through one."""

import pytest

from t5distill import formats
from t5distill.formats import socratic
from t5distill.formats.conversation import Talk
from t5distill.records import Chain, Problem

PROBLEM = Problem(
    id="p",
    question="A baker makes 3 trays of 12 rolls and sells 20. How many are left?",
    answer="16",
    kind="numeric",
    benchmark="b",
    split="train",
)
TEXT = (
    "How many rolls does he make? ** He makes 3 * 12 = <<3*12=36>>36 rolls.\n"
    "How many are left? ** There are 36 - 20 = 16 rolls left.\n#### 16"
)
CHAIN = Chain(problem_id="p", style="socratic", text=TEXT, teacher="t")
ASKED = f"Q: {PROBLEM.question}"
WHOLE = (
    "How many rolls does he make? ** He makes 3 * 12 = 36 rolls.\n"
    "How many are left? ** There are 36 - 20 = 16 rolls left.\nThe answer is 16."
)


def talk(style, answers):
    """Let a student answer by a table of what it has learnt; return the conversation."""
    found = Talk(formats.style(style).converse(PROBLEM))
    while found.pending is not None:
        found.answer(answers(found.pending))
    return found


def test_unified_examples():
    ask, solve = formats.style("socratic").examples(PROBLEM, CHAIN)
    assert ask.inputs == f"{ASKED}\nSub-questions:"
    assert ask.targets == "How many rolls does he make?\nHow many are left?"
    assert solve.inputs == f"{ASKED}\nSub-questions:\n{ask.targets}\nA:"
    assert solve.targets == (
        "He makes 3 * 12 = 36 rolls.\nThere are 36 - 20 = 16 rolls left.\nThe answer is 16."
    )


def test_iterative_examples():
    examples = formats.style("socratic_iterative").examples(PROBLEM, CHAIN)
    asks = [e for e in examples if e.inputs.endswith("Next sub-question:")]
    assert [e.targets for e in asks] == [
        "How many rolls does he make?",
        "Last: How many are left?",
    ]
    assert [e.targets for e in examples[2:]] == [
        "He makes 3 * 12 = 36 rolls.",
        "There are 36 - 20 = 16 rolls left.\nThe answer is 16.",
    ]
    # Who solves it knows which is the last, too.
    assert examples[3].inputs.endswith("\nLast: How many are left? **")


@pytest.mark.parametrize(
    ("guidance", "plan", "spoken"),
    [("count", "2", "Number of sub-questions: 2"), ("equations", "3 * 12\n36 - 20", None)],
)
def test_guidance(guidance, plan, spoken):
    found = formats.style(f"socratic_{guidance}").examples(PROBLEM, CHAIN)
    assert found[0].targets == plan
    assert (spoken or "Equations: 3 * 12; 36 - 20") in found[1].inputs
    steps = formats.style(f"socratic_iterative_{guidance}").examples(PROBLEM, CHAIN)
    assert steps[1].inputs.endswith("1 of 2" if guidance == "count" else "3 * 12")
    # The guidance says which is the last: who asks does not, and who solves reads it.
    assert [e.targets for e in steps[1:3]] == ["How many rolls does he make?", "How many are left?"]
    assert steps[-1].inputs.endswith("\nLast: How many are left? **")


def test_roles_share_the_examples_among_two_students():
    for name in ("socratic", "socratic_iterative_count"):
        whole = formats.style(name).examples(PROBLEM, CHAIN)
        shares = [
            formats.style(f"{name}_{role}").examples(PROBLEM, CHAIN) for role in ("ask", "solve")
        ]
        assert whole == [*shares[0], *shares[1]] and all(shares)


@pytest.mark.parametrize("name", [n for n in socratic.NAMES if not n.endswith(("ask", "solve"))])
def test_a_student_that_has_learnt_the_examples_is_led_to_the_whole_chain(name):
    learnt = {e.inputs: e.targets for e in formats.style(name).examples(PROBLEM, CHAIN)}
    found = talk(name, lambda ask: learnt[ask.text])
    assert found.text == WHOLE
    assert found.turns == len(learnt)


def test_who_is_asked_first():
    firsts = []

    def student(ask):
        firsts.append(ask.first)
        mark = "Last: " if len(firsts) == 3 else ""
        return f"{mark}How many?" if ask.first else "3 * 12 = 36."

    found = talk("socratic_iterative", student)
    assert firsts == [True, False, True, False]
    assert found.text == "How many? ** 3 * 12 = 36.\nHow many? ** 3 * 12 = 36."


@pytest.mark.parametrize("written", ["", "  \n", "Last:", "Last:  \n"])
def test_who_has_no_more_to_ask_has_the_student_conclude(written):
    asked = []

    def student(ask):
        asked.append(ask.text)
        return ["How many?", "3 * 12 = 36.", written, "The answer is 36."][len(asked) - 1]

    found = talk("socratic_iterative", student)
    assert found.text == "How many? ** 3 * 12 = 36.\nThe answer is 36."
    assert asked[-1] == f"{ASKED}\nHow many? ** 3 * 12 = 36.\nA:"


def test_the_last_of_too_many_sub_questions_is_marked():
    asked = []
    talk("socratic_iterative", lambda ask: asked.append(ask) or f"How many after {len(asked)}?")
    assert len(asked) == 2 * socratic.MAX_STEPS
    assert ["Last:" in ask.text for ask in asked] == [False] * (len(asked) - 1) + [True]


def test_who_repeats_a_step_is_asked_for_the_answer():
    """A sub-question may be asked again; with the same solution it leads nowhere."""
    asked = []

    def student(ask):
        asked.append(ask.text)
        says = ["How many?", "12.", "How many?", "16.", "How many?", "12.", "The answer is 16."]
        return says[len(asked) - 1]

    found = talk("socratic_iterative", student)
    assert found.text == "How many? ** 12.\nHow many? ** 16.\nThe answer is 16."
    assert asked[-1] == f"{ASKED}\nHow many? ** 12.\nHow many? ** 16.\nA:"


@pytest.mark.parametrize("turn", [3, 4])
def test_a_turn_that_has_no_end_is_the_last(turn):
    says = ["How many?", "3 * 12 = 36.", "How many how", "1 1 1 1"]
    found = Talk(formats.style("socratic_iterative").converse(PROBLEM))
    for n, text in enumerate(says[:turn], start=1):
        assert found.pending is not None
        found.answer(text, finished=n < turn)
    assert found.pending is None
    assert found.text.splitlines() == [
        "How many? ** 3 * 12 = 36.",
        "How many how" if turn == 3 else "How many how ** 1 1 1 1",
    ]


@pytest.mark.parametrize("name", ["socratic", "socratic_iterative", "socratic_iterative_count"])
@pytest.mark.parametrize(
    "written", ["", "\n \n", "x", "a\x00b", "?\n" * 10_000, "9" * 5000, "**" * 99]
)
def test_nothing_that_a_student_writes_goes_on_for_ever(name, written):
    found = talk(name, lambda _ask: written)
    assert found.turns <= 2 * socratic.MAX_STEPS + 2
    assert found.text.count("\n") <= 2 * socratic.MAX_STEPS + written.count("\n")


def test_solutions_without_sub_questions_stay():
    found = talk("socratic", lambda ask: "" if ask.first else "3 * 12 = 36.\nThe answer is 36.")
    assert found.text == "3 * 12 = 36.\nThe answer is 36."


def test_a_problem_without_a_chain_teaches_its_answer():
    [example] = formats.style("socratic").examples(PROBLEM, None)
    assert example.targets == "The answer is 16."


def test_lines_without_a_question_belong_to_the_solution_before():
    steps = socratic.parse("How many? ** There are\n3 * 12 = 36.\nThe answer is 36.\n#### 36")
    assert steps == [("How many?", "There are 3 * 12 = 36.")]


def test_marks_inside_questions_and_around_them():
    text = "How many is 2**3? ** 2**3 = 8.\n**How many?** ** **9.**\nHow?** 7"
    assert socratic.parse(text) == [
        ("How many is 2**3?", "2**3 = 8."),
        ("How many?", "9."),
        ("How?", "7"),
    ]


def test_gold_decompositions_come_with_the_problem():
    problem = Problem(**{**PROBLEM.__dict__, "meta": {"chains": {"socratic": TEXT}}})
    chain = formats.gold_chain(problem, style="socratic_iterative")
    assert chain is not None and (chain.style, chain.text) == ("socratic", TEXT)
    assert formats.gold_chain(PROBLEM, style="socratic") is None
    assert formats.gold_chain(PROBLEM, style="program") is None
