"""Writes a reproduction's folder as `t5distill reproduce` does, without training anything.

The problems are the embedded ones, students and teacher are the loopback's writer with other shares
of wrong chains; records, judge and scores are the project's own.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import random

from t5distill import verify
from t5distill.curate.counts import Line, Tally
from t5distill.evaluate import scoring, voting
from t5distill.problems import embedded
from t5distill.records import Chain, Prediction, Verdict, to_json, write_json, write_jsonl
from t5distill.teacher.loopback.answers import Writer

HOSTILE = (
    "<script>window.planted = 1</script>",
    "</script><script>window.planted = 2</script>",
    '<img src=x onerror="window.planted = 3">',
    "two\u2028lines\u2029here",
    "\u202eright to left\u202c \u05d0\u05d1\u05d2 mixed",
    "a very long text " + "without an end " * 400,
    "longwordwithoutspaces" * 60,
    "--> <!-- ]]> &lt;b&gt; &amp; \x00 \x1b[31m '\"`",
    "{{7*7}} @columns@ ${7*7} \\u003cscript",
)
ARMS = (
    {"name": "untrained", "label": "before training", "role": "untrained", "style": "cot"},
    {"name": "answer", "label": "answers only", "role": "answer_only", "style": "answer"},
    {"name": "cot", "label": "chains of thought", "role": "distilled", "style": "cot"},
    {"name": "program", "label": "programs", "role": "distilled", "style": "program"},
)
WRONG = {"untrained": 0.97, "answer": 0.85, "cot": 0.35, "program": 0.3}
PUBLISHED = [
    {"label": "T5 XXL, chains of PaLM 540B", "benchmark": "gsm8k", "accuracy": 0.2199,
     "source": "Magister et al. 2022, abstract", "verified": True},
    {"label": "T5 XXL, answers only", "benchmark": "gsm8k", "accuracy": 0.0811,
     "source": "Magister et al. 2022, abstract <b>", "verified": True},
    {"label": "of nobody", "benchmark": "gsm8k", "accuracy": 0.5, "verified": True},
    {"label": "remembered", "benchmark": "gsm8k", "accuracy": 0.3, "source": "memory",
     "verified": False},
]  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folder:
    """What to write."""

    problems: int = 40
    held_out: int = 20
    train: int = 60
    seeds: tuple[int, ...] = (0, 1, 2)
    samples: int = 1
    arms: tuple = ARMS
    hostile: bool = True
    ensemble: bool = True
    thinking: int = 0  # words before a chain that compress as badly as real ones

    def write(self, home):
        """Write everything below a folder; return it."""
        made = embedded.splits(
            7, train=self.train, validation=5, test=self.problems, held_out=self.held_out
        )
        tests = {"embedded": made["test"], "embedded_held_out": made["held_out"]}
        if self.hostile:
            tests["embedded"] = [
                dataclasses.replace(p, question=f"{HOSTILE[i]} {p.question}")
                if i < len(HOSTILE)
                else p
                for i, p in enumerate(tests["embedded"])
            ]
        for name, problems in tests.items():
            write_jsonl(home / "data" / name / "test.jsonl", problems)
        write_jsonl(home / "data/embedded/train.jsonl", made["train"])
        write_teacher(home / "data/chains/embedded_cot_simulated", made["train"])
        for arm in self.arms:
            for seed in self.seeds:
                self._student(home, arm, seed, tests)
        if self.ensemble:
            for seed in self.seeds:
                write_ensemble(home, seed, tests)
        write_json(home / "experiment.json", self._experiment(tests))
        return home

    def _experiment(self, tests):
        return {
            "recipe": "magister_gsm8k", "title": "Chains of thought for a tiny student",
            "question": "Does a student learn more from a teacher's chains than from answers?",
            "source": "Magister et al. 2022", "tiny": True, "benchmark": "embedded",
            "tests": list(tests), "seeds": list(self.seeds),
            "arms": [
                {
                    "x": None, **arm,
                    "students": [[self._home(arm, seed)] for seed in self.seeds],
                    "results": [f"{self._home(arm, seed)}/tests" for seed in self.seeds],
                }
                for arm in self.arms
            ] + [
                {
                    "name": "fallback", "label": "program, then chain", "combined": "fallback",
                    "students": [],
                    "results": [f"ensembles/fallback/seed_{s}/tests" for s in self.seeds],
                }
            ] * self.ensemble,
            "baseline": "answer", "main": "cot", "sweep": None, "published": PUBLISHED,
        }  # fmt: skip

    def _home(self, arm, seed):
        return f"students/{arm['name']}/seed_{seed}"

    def _student(self, home, arm, seed, tests):
        place = home / self._home(arm, seed)
        for benchmark, problems in tests.items():
            predictions = [
                self._prediction(problem, i, arm, seed, sample)
                for i, problem in enumerate(problems)
                for sample in range(self.samples)
            ]
            write_scored(place / "tests" / benchmark, problems, predictions)
        write_json(place / "card.json", card(arm, seed, place))

    def _prediction(self, problem, i, arm, seed, sample):
        wrong = WRONG.get(arm["name"], 0.5)
        writer = Writer(seed=1000 * seed + 17, wrong_rate=wrong, malformed_rate=0.1)
        text = writer.text(problem, arm["style"], f"{arm['name']} {sample}")
        if self.hostile and arm["style"] == "cot" and i < len(HOSTILE):
            text = f"{HOSTILE[i]}\n{text}"
        if self.thinking and arm["style"] == "cot":
            rng = random.Random(f"{problem.id} {seed} {sample}")
            words = ("".join(rng.choices("aeioubdfgklmnprst", k=5)) for _ in range(self.thinking))
            text = f"Let me see: {' '.join(words)}. {text}"
        finished = (i + seed) % 11 != 3
        return Prediction(
            problem_id=problem.id,
            text=text if finished else text[: len(text) // 2],
            sample=sample,
            finished=finished,
            style=arm["style"],
        )


def write_scored(place, problems, predictions):
    """Judge predictions and write them with verdicts and scores."""
    samples = scoring.by_problem(problems, predictions)
    verdicts = scoring.judge_predictions(problems, samples)
    write_jsonl(place / "predictions.jsonl", predictions)
    write_jsonl(place / "verdicts.jsonl", verdicts)
    write_json(place / "scores.json", scoring.summarise(problems, samples, verdicts))


def write_ensemble(home, seed, tests):
    """Write what `t5distill ensemble` makes of programs and chains."""
    from t5distill.evaluate import statistics
    from t5distill.records import read_jsonl

    for benchmark, problems in tests.items():
        groups = collections.defaultdict(list)
        for style in ("program", "cot"):
            path = home / f"students/{style}/seed_{seed}/tests/{benchmark}/verdicts.jsonl"
            for verdict in read_jsonl(Verdict, path):
                named = dataclasses.replace(verdict, extra={**verdict.extra, "style": style})
                groups[verdict.problem_id].append(named)
        verdicts = voting.combined(problems, groups, voting.first_answered)
        right = sum(v.outcome == "correct" for v in verdicts)
        place = home / f"ensembles/fallback/seed_{seed}/tests/{benchmark}"
        write_jsonl(place / "verdicts.jsonl", verdicts)
        found = statistics.wilson(right, len(verdicts)).accuracy()
        write_json(place / "scores.json", {**found, "n": len(verdicts), "how": "fallback"})


def write_teacher(place, problems):
    """Write a teacher's set: right chains kept, the others rejected."""
    writer, tally, kept, rejected = Writer(seed=3, wrong_rate=0.2), Tally(), [], []
    for problem in problems:
        text = writer.text(problem, "cot")
        outcome = verify.judge_chain(text, problem, style="cot").outcome
        right = outcome == "correct"
        chain = Chain(
            problem_id=problem.id,
            style="cot",
            text=text,
            teacher="simulated",
            verdict=outcome,
            meta={} if right else {"reason": outcome},
        )
        (kept if right else rejected).append(chain)
        fate = "kept" if right else "rejected"
        reason = None if right else outcome
        tally.add(Line(to_json(chain), fate, reason, outcome, False, 40, problem.id))
    write_jsonl(place / "kept.jsonl", kept)
    write_jsonl(place / "rejected.jsonl", rejected)
    write_json(place / "curation.json", {"name": place.name, **tally.report()})


def card(arm, seed, place):
    """Return a run card with a learning curve."""
    curve = []
    for step in range(10, 310, 10):
        row = {"step": step, "loss": 3.0 * 0.99**step + 0.02 * (step * 7 % 5) + 0.2 + 0.05 * seed}
        if step % 50 == 0:
            row["validation_loss"] = 3.1 * 0.991**step + 0.4
            row["validation_accuracy"] = (1 - WRONG.get(arm["name"], 0.5)) * (1 - 0.98**step)
        curve.append(row)
    tests = [
        {"benchmark": p.parent.name, "split": "test", "read": "2026-05-01T11:00:00+00:00",
         "step": 300, "scores": f"tests/{p.parent.name}/scores.json",
         **{k: json.loads(p.read_text())[k] for k in ("accuracy", "low", "high", "n")}}
        for p in sorted(place.glob("tests/*/scores.json"))
    ]  # fmt: skip
    return {
        "arm": arm["name"], "seed": seed, "recipe": "magister_gsm8k", "commit": "0123456789abcdef",
        "command": ["t5distill", "reproduce"], "versions": {"jax": "0.10.2"}, "config": "",
        "hardware": {"count": 1, "kind": "cpu", "host": "there"}, "processes": 1,
        "peak_memory_mib": 900 + seed, "started": "2026-05-01T10:00:00+00:00",
        "ended": "2026-05-01T11:02:30+00:00", "parameters": 311000,
        "sets": [{"name": "embedded_cot_simulated", "sha256": "ab" * 32, "examples": 48}],
        "mixture": {"embedded_cot_simulated": 1.0},
        "training": {"steps": 300, "input_tokens": 1_234_567, "target_tokens": 765_432,
                     "examples": 9600, "seconds": 245.3, "curve": curve},
        "spend": {"tokens": 54_321, "money": 0.0, "requests": 60},
        "selection": {"split": "validation", "by": "validation_accuracy", "step": 300,
                      "benchmarks": ["embedded"], "candidates": [],
                      "selected": "2026-05-01T10:50:00+00:00"},
        "tests": tests, "isolation": ["namespaces+seccomp"], "extractor": "1",
    }  # fmt: skip
