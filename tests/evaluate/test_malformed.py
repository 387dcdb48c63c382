"""What students write when they write nonsense: every style gives it a named verdict, and ends."""

import pytest

from t5distill import formats
from t5distill.evaluate import scoring
from t5distill.evaluate.rounds import Decoding, Rounds
from t5distill.records import OUTCOMES, Chain, Prediction, Problem
from t5distill.verify import judge_chain

PROBLEM = Problem(
    id="p", question="2 and 3?", answer="5", kind="numeric", benchmark="b", split="test"
)
MEGABYTE = 1 << 20

NONSENSE = {
    "empty": "",
    "blank": " \n\t ",
    "cut off": "def solution():\n    x = (2 + ",
    "cut equation": "x + y = 5\nx - y =",
    "cut chain": "He has 2 + ",
    "wrong language": "Ответ: пять яблок, потому что два и три.",
    "another program": '#include <stdio.h>\nint main() { printf("5"); }',
    "prose for a program": "First we add two and three, and then we are done.",
    "NUL": "ans = 5\x00\x00\x00",
    "surrogate": "ans = '\ud800'",
    "long number": "ans = " + "9" * MEGABYTE,
    "long words": "ans = " + "a" * MEGABYTE,
    "long lines": "x = 1\n" * (MEGABYTE // 6),
    "long equations": "\n".join(f"x{i} = x{i + 1}" for i in range(20_000)),
    "sub-questions": "What now? ** 1 + 1 = 2.\n" * 10_000,
    "brackets": "(" * 100_000,
    "loop": "while True: pass",
    "recursion": "def solution():\n    return solution()",
    "memory": "ans = [0] * 10**12",
    "digits": "ans = 10 ** 100000",
    "nan": "ans = float('nan')",
    "deep": "ans = " + "-" * 50_000 + "5",
    "exit": "raise SystemExit(0)",
    "input": "ans = input()",
    "several": "x**2 = 4\nans = x",
    "none": "x = 5\nx = 6\nans = x",
    "marks": "#### " * 50_000,
    "fences": "```\n" * 50_000,
}


class Parrot:
    """A student that always writes the same."""

    def __init__(self, text):
        self.text = text

    def fingerprint(self):
        return "parrot"

    def encode(self, text):
        return text

    def generate(self, texts, *, num_samples, progress, **_settings):
        made = []
        for place in range(len(texts)):
            rows = [
                Prediction(problem_id="?", text=self.text, sample=s) for s in range(num_samples)
            ]
            progress(place, rows)
            made.append(rows)
        return made


# One of each way to be judged and to be asked.
STYLES = (
    *("answer", "cot", "program", "equation", "key_points", "sci_cot"),
    *("socratic", "socratic_count", "socratic_equations"),
    *("socratic_iterative", "socratic_iterative_count", "socratic_iterative_equations"),
)


@pytest.mark.parametrize("name", NONSENSE)
@pytest.mark.parametrize("style", STYLES)
def test_nonsense_gets_a_named_verdict(style, name):
    rounds = Rounds(
        student=Parrot(NONSENSE[name]),
        problems=[PROBLEM],
        style=style,
        decoding=Decoding(max_tokens=8),
    )
    [[prediction]] = rounds.run()
    [verdict] = scoring.judge_predictions([PROBLEM], {"p": [prediction]})
    assert verdict.outcome in OUTCOMES and verdict.outcome != "missing"
    # It may be right by chance ("ans = 5" with something behind it), and never without an answer.
    assert (verdict.answer is not None) == (verdict.outcome in ("correct", "wrong"))


@pytest.mark.parametrize("style", ["program", "equation"])
def test_what_was_cut_off_is_not_executed(style):
    prediction = Prediction(problem_id="p", text="ans = 5", style=style, finished=False)
    [verdict] = scoring.judge_predictions([PROBLEM], {"p": [prediction]})
    assert verdict.outcome == "truncated"


def test_outcomes_of_execution_are_those_of_the_policy():
    texts = {
        "loop": "timeout",
        "memory": "error",
        "exit": "no_answer",
        "input": "error",
    }
    for name, outcome in texts.items():
        prediction = Prediction(problem_id="p", text=NONSENSE[name], style="program")
        [verdict] = scoring.judge_predictions([PROBLEM], {"p": [prediction]})
        assert verdict.outcome in (outcome, "rejected"), (name, verdict)
    for name in ("several", "none"):
        prediction = Prediction(problem_id="p", text=NONSENSE[name], style="equation")
        [verdict] = scoring.judge_predictions([PROBLEM], {"p": [prediction]})
        assert verdict.outcome == "no_answer", (name, verdict)
    assert set(formats.STYLES) >= set(STYLES)


WRAPPED = {
    "two blocks": "```python\nx = 2\n```\nand then\n```python\nans = x + 3\n```\n```\n6\n```",
    "a fence in a string": "ans = '''\n```\n5\n```'''.strip().splitlines()[1]",
    "prose around": "Here it is:\n~~~py\n  ans = 5\n~~~\nThat is all.",
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_program_is_judged_and_taught_by_one_rule_of_wrapping(name):
    chain = Chain(problem_id="p", style="program", text=WRAPPED[name], teacher="t")
    taught = formats.style("program").targets(PROBLEM, chain)
    for text in (chain.text, taught):
        verdict = judge_chain(text, PROBLEM, style="program")
        assert verdict.outcome == "correct", (text, verdict)
    assert formats.program.source(taught) == taught
