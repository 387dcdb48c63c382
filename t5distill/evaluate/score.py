"""`t5distill score`: judge predictions against problems."""

from __future__ import annotations

import argparse
import pathlib

from t5distill.places import place
from t5distill.verify import execution

HELP = "Judge predictions against problems; write verdicts.jsonl and scores.json."
EXAMPLE = (
    "t5distill score --problems data/gsm8k/test.jsonl "
    "--predictions runs/cot/predictions.jsonl --out runs/cot/scores"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--problems", required=True, metavar="F", help="JSONL of Problem")
    parser.add_argument(
        "--predictions",
        required=True,
        nargs="+",
        metavar="F",
        help="JSONL of Prediction, or T5X's inference JSONL; several files are read as one run",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where the results go")
    parser.add_argument(
        "--style",
        metavar="STYLE",
        help="of predictions that do not say theirs, such as T5X's (default: read as text)",
    )
    parser.add_argument("--allow-unsafe", action="store_true", help=execution.ALLOW_UNSAFE_HELP)
    parser.add_argument(
        "--baseline",
        metavar="F",
        help="verdicts.jsonl of another run on the same problems: adds the paired difference",
    )


def run(args: argparse.Namespace) -> None:
    """Score and print a table."""
    import dataclasses

    from t5distill import formats
    from t5distill.errors import UserError
    from t5distill.evaluate import scoring
    from t5distill.records import write_json, write_jsonl

    if args.allow_unsafe:
        execution.allow_unsafe()
    out = results_folder(args.out, args.problems, *args.predictions, args.baseline)
    baseline = scoring.read_verdicts(args.baseline) if args.baseline else None
    problems = scoring.read_problems(args.problems)
    predictions = [p for path in args.predictions for p in scoring.read_predictions(path)]
    if args.style is not None:
        formats.style(args.style)  # raises where there is no such
        named = (dataclasses.replace(p, style=p.style or args.style) for p in predictions)
        predictions = list(named)
    if not predictions:
        raise UserError(f"no predictions in {', '.join(args.predictions)}")
    samples = scoring.by_problem(problems, predictions)
    verdicts = scoring.judge_predictions(problems, samples, shown=True)
    scores = scoring.summarise(problems, samples, verdicts)
    if baseline is not None:
        scores["versus_baseline"] = scoring.compare(verdicts, baseline)
    write_jsonl(out / "verdicts.jsonl", verdicts)
    write_json(out / "scores.json", scores)
    print(table(scores))
    if warning := scoring.missing(problems, verdicts):
        print(warning)
    print(f"\nwrote {out / 'verdicts.jsonl'} and {out / 'scores.json'}")


def table(scores: dict) -> str:
    """Return the scores as lines for a terminal, in percent."""

    def line(label: str, value: float, note: str = "") -> str:
        return f"{label:<28}{100 * value:6.1f} %  {note}".rstrip()

    several = any(name.startswith("vote_") for name in scores)
    note = f"{interval(scores)}, {scores['n']} problems{', first samples' if several else ''}"
    lines = [line("accuracy", scores["accuracy"], note)]
    for name, value in scores.items():
        if name.startswith("vote_") and name != "vote_curve":
            lines.append(line(f"majority of {name[5:]}", value["accuracy"], interval(value)))
    for point in scores.get("vote_curve", [])[:-1]:
        note = f"{interval(point)}, expected"
        lines.append(line(f"majority of {point['k']}", point["accuracy"], note))
    # What is executed has no equations in words and no marks of an answer.
    read = scores["executed"] < 1
    if read:
        lines.append(line("calculator after decoding", scores["calculator_after_decoding"]))
    if read and (inside := scores["calculator_in_decoding"])["share"]:
        note = f"of the predictions; {inside['forced']} values forced, {inside['changed']} changed"
        lines.append(line("calculator in decoding", inside["share"], note))
    if read:
        lines.append(line("strict-match", scores["strict_match"], "as widely used harnesses count"))
        lines.append(line("flexible-extract", scores["flexible_extract"], "likewise"))
    shown = {o: s for o, s in scores["outcomes"].items() if s}
    lines.append("outcomes: " + ", ".join(f"{o} {100 * s:.1f} %" for o, s in shown.items()))
    if read:
        lines.append(line("no answer marker", scores["no_marker"]))
    lines.append(line("hit the length limit", scores["truncated"]))
    if "isolation" in scores:
        lines.append(isolated(scores["isolation"]))
    if "versus_baseline" in scores:
        lines.append(compared(scores["versus_baseline"]))
    return "\n".join(lines)


def isolated(levels: list[str]) -> str:
    """Return how texts were executed as a line for a terminal."""
    return f"texts were executed behind {' and '.join(levels)}"


def results_folder(path: str, *inputs: str | None) -> pathlib.Path:
    """Return where results go; raise where they would replace a file that they come from."""
    from t5distill.errors import UserError

    out = place(path)
    written = {(out / name).resolve() for name in ("verdicts.jsonl", "scores.json")}
    for read in inputs:
        if read is not None and place(read).resolve() in written:
            raise UserError(
                f"--out {path} would replace {read}, which is read; wanted another folder"
            )
    return out


def interval(scores: dict) -> str:
    """Return an accuracy's interval in words."""
    return f"95 % interval {100 * scores['low']:.1f} to {100 * scores['high']:.1f}"


def compared(difference: dict) -> str:
    """Return what `scoring.compare` found as a line for a terminal."""
    between = f"{100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}, paired"
    return (
        f"against the baseline: {100 * difference['difference']:+.1f} points "
        f"(95 % interval {between})"
    )
