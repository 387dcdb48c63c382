"""What the papers claim, shown or not shown by students of embedded problems.

    python -m benchmarks.claims --workdir runs/claims --seeds 3

Five recipes are reproduced (hours on 2 cores; the same command goes on after an interruption). Each
claim is then read from their answers as a contrast: of every student and problem, right (1) or not
(0) in some arms minus the same in others. It is shown where its 95 % interval over students and
problems (`statistics.over_seeds`) lies above zero.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from t5distill.__main__ import main as t5distill
from t5distill.evaluate import statistics
from t5distill.records import write_json
from t5distill.report.figures import together
from t5distill.report.folders import read_reproduction
from t5distill.report.runs import Run

SIZES = ("30000", "500", "1000", "100")
MACROS = {"TRAIN_STEPS": 1500, "WARMUP_STEPS": 50, "BATCH_SIZE": 40, "EVAL_PERIOD": 500}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim as a contrast.

    Attributes:
      text: what is claimed.
      whose: who claims it.
      recipe: which experiment has its students.
      weights: of each arm's accuracy in the contrast; they sum to zero.
      benchmark: whose test problems.
      per_step: the contrast's growth with every further step of a problem's solution, instead of
        its mean.
    """

    text: str
    whose: str
    recipe: str
    weights: Mapping[str, int]
    benchmark: str = "embedded"
    per_step: bool = False


def _minus(one: str, other: str) -> dict[str, int]:
    return {one: 1, other: -1}


CLAIMS = (
    Claim(
        "What chains of thought give over answers grows with training",
        "Magister et al. 2022",
        "embedded_steps",
        {**_minus("cot_100", "answer_100"), **_minus("answer_25", "cot_25")},
    ),
    Claim(
        "It grows with the steps that a problem takes (a further step)",
        "Magister et al. 2022",
        "embedded_steps",
        _minus("cot_100", "answer_100"),
        per_step=True,
    ),
    Claim(
        "More samples of the same problems help (4 against 1)",
        "Ho et al. 2022",
        "embedded_samples",
        _minus("samples_4", "samples_1"),
    ),
    Claim(
        "Leaving wrong chains out helps",
        "Ho et al. 2022",
        "embedded_filter",
        _minus("filtered", "unfiltered"),
    ),
    *(
        Claim(
            f"{name} beat chains of thought on arithmetic",
            "Zhu et al. 2024",
            "embedded_ensembles",
            _minus(arm, "cot"),
        )
        for name, arm in (("Programs", "program"), ("Equations", "equation"))
    ),
    *(
        Claim(
            f"{name} beats {label}",
            "Zhu et al. 2024",
            "embedded_ensembles",
            _minus(arm, other),
        )
        for name, arm, others in (
            (
                "The ensemble of one student (first that answers)",
                "fallback",
                {
                    "etd_program": "its programs",
                    "etd_equation": "its equations",
                    "etd_cot": "its chains",
                },
            ),
            (
                "A vote of three students",
                "three",
                {"program": "programs", "equation": "equations", "cot": "chains"},
            ),
        )
        for other, label in others.items()
    ),
    Claim(
        "Specialisation costs an unrelated task (last letters)",
        "Fu et al. 2023",
        "embedded_specialisation",
        _minus("general", "specialised"),
        benchmark="last_letter",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where everything goes")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of each student (3)")
    parser.add_argument("--sizes", nargs=4, default=SIZES, metavar="N", help="as `reproduce`")
    parser.add_argument("--train-steps", type=int, default=MACROS["TRAIN_STEPS"], metavar="N")
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON too")
    args = parser.parse_args(argv)
    if args.seeds < 2:
        parser.error(f"--seeds {args.seeds}: an interval over students wants at least 2")
    recipes = list(dict.fromkeys(claim.recipe for claim in CLAIMS))
    macros = {**MACROS, "TRAIN_STEPS": args.train_steps}
    code = t5distill([
        *("reproduce", *recipes, "--tiny", "--workdir", args.workdir),
        *("--seeds", str(args.seeds), "--sizes", *args.sizes),
        *(f"--gin.{name}={value}" for name, value in macros.items()),
    ])  # fmt: skip
    if code:
        return code
    read = functools.cache(lambda recipe: read_reproduction(pathlib.Path(args.workdir) / recipe))
    found = [(claim, *contrast(read(claim.recipe), claim)) for claim in CLAIMS]
    print("\n".join(table(found)))
    if args.out:
        rows = [
            {**dataclasses.asdict(claim), **dataclasses.asdict(interval), "accuracy": accuracy}
            for claim, interval, accuracy in found
        ]
        write_json(pathlib.Path(args.out), {"seeds": args.seeds, "claims": rows})
    return 0


def contrast(run: Run, claim: Claim) -> tuple[statistics.Interval, dict[str, list[float]]]:
    """Return a claim's contrast with its interval, and the accuracy of each arm's students.

    Raises:
      ValueError: fewer than two students, or students that answered different problems.
    """
    accuracy, ids, values = {}, None, 0.0
    for arm, weight in claim.weights.items():
        tests = [t for t in run.tested if (t.benchmark, t.arm) == (claim.benchmark, arm)]
        kept, answered, right = together(tests)
        if len(kept) != len(run.seeds) or ids not in (None, answered):
            raise ValueError(f"{claim.recipe}: the students of {arm} answered other problems")
        ids, values = answered, values + weight * right
        accuracy[arm] = right.mean(axis=1).tolist()
    assert ids is not None
    if claim.per_step:
        problems = run.problems[claim.benchmark]
        steps = np.array([len(problems[i].meta["steps"]) for i in ids], np.float64)
        values = growth(np.asarray(values, np.float64), steps)
    return statistics.over_seeds(np.asarray(values)), accuracy


def growth(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return what has the slope of least squares as each student's mean, and its variance.

    Args:
      values: of each student and problem, `[students, problems]`.
      steps: of each problem, `[problems]`.

    Raises:
      ValueError: all problems have equally many steps.
    """
    off = steps - steps.mean()
    if not off.any():
        raise ValueError("problems of equally many steps: nothing can grow with them")
    scale = len(steps) * off / np.square(off).sum()
    slopes = (values * scale).mean(axis=1, keepdims=True)
    # Its own line is taken from each student's values: what lies on it is no variance of the slope.
    rest = values - values.mean(axis=1, keepdims=True) - slopes * off
    return slopes + scale * rest


def table(
    found: Sequence[tuple[Claim, statistics.Interval, Mapping[str, Sequence[float]]]],
) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| claim | whose | right, each student | points (95 % interval) | |"
    yield "|---|---|---|---|---|"
    for claim, interval, accuracy in found:
        each = "; ".join(
            f"{arm.replace('_', ' ')} {', '.join(f'{100 * a:.1f}' for a in some)}"
            for arm, some in accuracy.items()
        )
        points = " to ".join(f"{100 * end:+.1f}" for end in (interval.low, interval.high))
        verdict = "shown" if interval.low > 0 else "not shown"
        if interval.high < 0:
            verdict = "the opposite"
        yield (
            f"| {claim.text} | {claim.whose} | {each} | {100 * interval.estimate:+.1f} ({points}) "
            f"| {verdict} |"
        )


if __name__ == "__main__":
    sys.exit(main())
