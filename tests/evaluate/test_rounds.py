"""Conversations in lockstep: what is asked together, of whom, and what a broken run asks again."""

import pytest

from t5distill.evaluate.inference import infer
from t5distill.evaluate.rounds import Decoding, Rounds
from t5distill.formats.socratic import LAST
from t5distill.records import Prediction, Problem, read_jsonl, write_jsonl


class Asker:
    """A student that asks as many sub-questions as the problem's number says, and solves them."""

    def __init__(self, name="a", stop_after=None):
        self.name = name
        self.calls = []
        self.asked = []
        self.stop_after = stop_after

    def fingerprint(self):
        return self.name

    def encode(self, text):
        return text

    def generate(self, texts, *, num_samples, indices, seed, progress, **settings):
        self.calls.append(len(texts))
        results = []
        for place in reversed(range(len(texts))):
            if self.stop_after is not None and len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(texts[place])
            rows = [
                Prediction(
                    problem_id="?",
                    text=self.write(texts[place], f"{indices[place]}.{sample}.{seed}"),
                    sample=sample,
                    meta={"tokens": 2},
                )
                for sample in range(num_samples)
            ]
            progress(place, rows)
            results.append(rows)
        return results

    def write(self, text, mark):
        steps = text.count(" ** ")
        if text.endswith("A:"):
            return f"The answer is {steps}."
        if text.endswith("Next sub-question:"):
            wanted = int(text.split("Q: ")[1].split()[0])
            question = f"{self.name} {mark}?" if wanted else ""
            return f"{LAST} {question}" if steps + 1 >= wanted else question
        concluded = f"\nThe answer is {steps}." if LAST in text else ""
        return f"{self.name} {mark}.{concluded}"


def problem(i):
    return Problem(
        id=f"p{i}",
        question=f"{i} steps",
        answer=str(i),
        kind="numeric",
        benchmark="b",
        split="test",
    )


PROBLEMS = [problem(i) for i in (3, 0, 1, 2)]


def rounds(student, problems=PROBLEMS, **changes):
    settings = {"style": "socratic_iterative", "decoding": Decoding(max_tokens=8)}
    return Rounds(student=student, problems=problems, **{**settings, **changes})


def test_a_turn_of_all_is_one_call():
    student = Asker()
    chains = rounds(student).run()
    assert [len(c[0].text.splitlines()) for c in chains] == [4, 1, 2, 3]
    # Turn by turn those that are left; conclusions are asked beside the others' solutions.
    assert student.calls == [4, 4, 2, 2, 1, 1]
    assert chains[0][0].meta == {"tokens": 12, "turns": 6}


@pytest.mark.parametrize("samples", [1, 3])
def test_a_problem_is_answered_alike_whoever_else_is_asked(samples):
    decoding = Decoding(max_tokens=8, num_samples=samples, temperature=0.7, seed=3)
    together = rounds(Asker(), decoding=decoding).run()
    for i in range(len(PROBLEMS)):
        # The others are at their end before they begin.
        known = {
            j: {s: [Prediction(problem_id="?", text=LAST, sample=s)] for s in range(samples)}
            for j in range(len(PROBLEMS))
            if j != i
        }
        alone = rounds(Asker(), decoding=decoding).run(known)[i]
        assert [p.text for p in alone] == [p.text for p in together[i]]
    assert len({p.text for some in together for p in some}) == len(PROBLEMS) * samples - (
        samples - 1
    )


def test_two_students_have_their_own_turns():
    first, second = Asker("first"), Asker("second")
    [[chain]] = rounds(second, [problem(2)], first=first).run()
    assert [line.split(" ** ")[0].split()[0] for line in chain.text.splitlines()[:2]] == [
        "first"
    ] * 2
    assert all("second" in line.split(" ** ")[1] for line in chain.text.splitlines()[:2])
    assert all(text.endswith("Next sub-question:") for text in first.asked)


@pytest.mark.parametrize("stop", [0, 1, 4, 7, 11, 17])
def test_a_run_cut_off_in_any_turn_asks_nothing_twice(tmp_path, stop):
    path = tmp_path / "problems.jsonl"
    write_jsonl(path, PROBLEMS)

    def run(out, student):
        decoding = Decoding(max_tokens=8, num_samples=2, temperature=0.5)
        infer(
            student=student,
            problems_path=path,
            out_path=tmp_path / out / "p.jsonl",
            style="socratic_iterative",
            decoding=decoding,
        )
        return (tmp_path / out / "p.jsonl").read_bytes()

    whole = Asker()
    wanted = run("whole", whole)
    cut, rest = Asker(stop_after=stop), Asker()
    with pytest.raises(KeyboardInterrupt):
        run("cut", cut)
    assert run("cut", rest) == wanted
    assert len(cut.asked) + len(rest.asked) == len(whole.asked)
    found = list(read_jsonl(Prediction, tmp_path / "cut/p.jsonl"))
    assert [(p.problem_id, p.sample) for p in found] == [
        (p.id, s) for p in PROBLEMS for s in range(2)
    ]
