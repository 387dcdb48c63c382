"""`t5distill ensemble`: one answer from the predictions of several styles, samples or students."""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from t5distill.verify import execution

if TYPE_CHECKING:
    from t5distill.records import Problem, Verdict

HELP = (
    "Combine stored predictions: by default programs first, equations where they give nothing, "
    "then chains of thought (Zhu et al. 2024); or a vote of all styles and samples."
)
EXAMPLE = (
    "t5distill ensemble --problems data/gsm8k/test.jsonl --predictions runs/etd/test/*.jsonl "
    "--out runs/etd/ensemble"
)

ORDER = ("program", "equation", "cot")
HOW = ("fallback", "vote")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("--problems", required=True, metavar="F", help="JSONL of Problem")
    add(
        "--predictions",
        required=True,
        nargs="+",
        metavar="F",
        help="JSONL of Prediction; a file for each style or student",
    )
    add("--out", required=True, metavar="DIR", help="where the results go")
    add(
        "--how",
        default="fallback",
        metavar="HOW",
        help="fallback: the first in order that has an answer; vote: the answer that most give "
        "(default: fallback)",
    )
    add(
        "--order",
        nargs="+",
        metavar="STYLE",
        help="of fallback, and of ties in a vote (default: program equation cot, then the others "
        "by name)",
    )
    add(
        "--validation-problems",
        metavar="F",
        help="weigh votes by accuracy on these problems, which are not those of --problems",
    )
    add(
        "--validation-predictions",
        nargs="+",
        metavar="F",
        help="the same styles' predictions for them",
    )
    add("--allow-unsafe", action="store_true", help=execution.ALLOW_UNSAFE_HELP)
    add("--baseline", metavar="F", help="verdicts.jsonl of a run on the same problems, to compare")


def run(args: argparse.Namespace) -> None:
    """Judge, combine and print a table."""
    from t5distill.errors import UserError, suggest
    from t5distill.evaluate import score, scoring, statistics, voting
    from t5distill.records import write_json, write_jsonl

    if args.allow_unsafe:
        execution.allow_unsafe()
    if args.how not in HOW:
        raise UserError(f"--how {args.how!r}; {suggest(args.how, HOW)}")
    out = score.results_folder(args.out, args.problems, *args.predictions, args.baseline)
    baseline = scoring.read_verdicts(args.baseline) if args.baseline else None
    problems, by_style, paths = _judged(args.problems, args.predictions)
    order = _order(args.order, by_style)
    weights = _weights(args, order, set(p.id for p in problems))
    groups: dict[str, list[Verdict]] = {p.id: [] for p in problems}
    for style in order:
        for verdict in by_style[style]:
            groups[str(verdict.problem_id)].append(verdict)

    def choose(votes: voting.Ballot) -> Verdict | None:
        if args.how == "fallback":
            return voting.first_answered(votes)
        return voting.majority(votes, [weights[v.extra["style"]] for v in votes.verdicts])

    verdicts = voting.combined(problems, groups, choose)
    right = sum(v.outcome == "correct" for v in verdicts)
    result: dict[str, Any] = {
        **statistics.wilson(right, len(verdicts)).accuracy(),
        "n": len(verdicts),
        "how": args.how,
        "order": order,
        "weights": weights if args.how == "vote" else None,
        "styles": {
            style: {
                **_alone(scoring.first_samples(by_style[style]), len(problems)),
                "predictions": paths[style],
                "samples": max(Counter(v.problem_id for v in by_style[style]).values()),
            }
            for style in order
        },
    }
    if baseline is not None:
        result["versus_baseline"] = scoring.compare(verdicts, baseline)
    if levels := scoring.isolation_levels(v for voice in order for v in by_style[voice]):
        result["isolation"] = levels
    write_jsonl(out / "verdicts.jsonl", verdicts)
    write_json(out / "scores.json", result)
    print(_table(result))
    for style in order:
        if warning := scoring.missing(problems, by_style[style]):
            print(f"{warning} ({style})")
    print(f"\nwrote {out / 'verdicts.jsonl'} and {out / 'scores.json'}")


def _judged(
    problems_path: str, paths: list[str]
) -> tuple[list[Problem], dict[str, list[Verdict]], dict[str, str]]:
    """Return the problems; by style the verdicts on all predictions; and by style the file."""
    from t5distill.errors import UserError
    from t5distill.evaluate import scoring

    problems = scoring.read_problems(problems_path)
    by_style: dict[str, list[Verdict]] = {}
    files: dict[str, str] = {}
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise UserError(f"{twice[0]}: given twice; wanted each file once")
    for path in paths:
        found = scoring.read_predictions(path)
        if not found:
            raise UserError(f"{path}: no predictions; wanted a file of `t5distill infer`")
        styles = {p.style for p in found}
        if len(styles) != 1:
            named = ", ".join(sorted(map(str, styles)))
            raise UserError(f"{path}: predictions of the styles {named}; wanted one style a file")
        # Two students of one style are two voices.
        style = voice = str(styles.pop() or "text")
        while voice in by_style:
            voice += "'"
        samples = scoring.by_problem(problems, found)
        judged = scoring.judge_predictions(problems, samples, shown=True)
        by_style[voice] = [
            dataclasses.replace(v, extra={**v.extra, "style": voice})
            for v in judged
            if v.outcome != "missing"
        ]
        files[voice] = str(path)
        if not by_style[voice]:
            raise UserError(f"{path}: no prediction of style {style}")
    return problems, by_style, files


def _order(given: list[str] | None, by_style: dict[str, list[Verdict]]) -> list[str]:
    """Return the styles in order, all of them."""
    from t5distill.errors import UserError

    if given is None:
        # Of two students of one style the second comes right after the first.
        ranks = {style: rank for rank, style in enumerate(ORDER)}
        return sorted(by_style, key=lambda voice: (ranks.get(voice.rstrip("'"), len(ORDER)), voice))
    if sorted(given) != sorted(by_style):
        raise UserError(
            f"--order {' '.join(given)}: wanted all of {', '.join(by_style)}, each once"
        )
    return given


def _weights(args: argparse.Namespace, order: list[str], tested: set[str]) -> dict[str, float]:
    """Return the weight of each style's votes: its accuracy on validation, or 1."""
    from t5distill.errors import UserError
    from t5distill.evaluate import scoring

    paths = args.validation_predictions
    if bool(args.validation_problems) != bool(paths):
        raise UserError("--validation-problems and --validation-predictions go together")
    if not paths:
        return dict.fromkeys(order, 1.0)
    if args.how != "vote":
        raise UserError("weights are of --how vote; with fallback the order decides")
    problems, by_style, _ = _judged(args.validation_problems, paths)
    if shared := tested & {p.id for p in problems}:
        raise UserError(
            f"{len(shared)} of the validation problems are those of --problems, e.g. "
            f"{min(shared)!r}; weights from the tested problems would flatter the result"
        )
    if sorted(by_style) != sorted(order):
        raise UserError(
            f"--validation-predictions are {', '.join(by_style)}, wanted {', '.join(order)}"
        )
    firsts = {style: scoring.first_samples(by_style[style]) for style in order}
    return {style: _alone(firsts[style], len(problems))["accuracy"] for style in order}


def _alone(first: Mapping[str | None, Verdict], n: int) -> dict[str, float]:
    """Return how often a style's first samples are right, and how often they answer at all."""
    right = sum(v.outcome == "correct" for v in first.values())
    return {
        "accuracy": right / n,
        "answered": sum(v.answer is not None for v in first.values()) / n,
    }


def _table(result: dict[str, Any]) -> str:
    from t5distill.evaluate import score

    weighed = f"{'weight':>9}" if result["weights"] else f"{'':>9}"
    lines = [f"{'style':<22}{'right':>8}{'answered':>10}{weighed}{'samples':>9}   predictions"]
    for style, alone in result["styles"].items():
        weight = f"{result['weights'][style]:>9.3f}" if result["weights"] else f"{'':>9}"
        shares = f"{100 * alone['accuracy']:>6.1f} %{100 * alone['answered']:>8.1f} %"
        lines.append(f"{style:<22}{shares}{weight}{alone['samples']:>9}   {alone['predictions']}")
    between = score.interval(result)
    how = {"fallback": "first that answers", "vote": "vote of all"}[result["how"]]
    lines.append(f"{how:<22}{100 * result['accuracy']:>6.1f} %  {between}, {result['n']} problems")
    if "isolation" in result:
        lines.append(score.isolated(result["isolation"]))
    if "versus_baseline" in result:
        lines.append(score.compared(result["versus_baseline"]))
    return "\n".join(lines)
