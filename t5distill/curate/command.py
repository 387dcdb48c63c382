"""`t5distill curate`: verify chains and write a training set."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from t5distill.verify import execution

if TYPE_CHECKING:
    from t5distill.records import Chain, Problem

HELP = (
    "Verify chains against the gold answers; write what is kept, what is not and why. Chains that "
    "repeat an evaluation problem, leak a shown answer, calculate wrongly or repeat each other are "
    "left out."
)
EXAMPLE = "t5distill curate --problems data/svamp/train.jsonl --ledger svamp.db --per-problem 8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--problems", required=True, nargs="+", metavar="F", help="JSONL of Problem"
    )
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument(
        "--ledger", metavar="DB", help="the ledger that `t5distill generate` filled"
    )
    origin.add_argument("--chains", nargs="+", metavar="F", help="JSONL of Chain, of one teacher")
    origin.add_argument(
        "--gold",
        metavar="STYLE",
        help="take the problems' own solutions as chains of this style (cot, socratic)",
    )
    parser.add_argument("--style", help="only chains of this style")
    parser.add_argument("--teacher", help="only chains of this teacher")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where kept.jsonl, rejected.jsonl and curation.json go "
        "(default: chains/{benchmark}_{style}_{teacher} under $T5DISTILL_DATA_DIR or ./data); the "
        "TFDS set goes to tfds/ there in any case, in place of one of the same name",
    )
    parser.add_argument("--allow-unsafe", action="store_true", help=execution.ALLOW_UNSAFE_HELP)
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores)")
    _add_rules(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Declare what decides on a chain."""
    what = parser.add_argument_group("what is kept")
    add = what.add_argument
    add(
        "--against",
        nargs="*",
        metavar="F",
        help="evaluation problems that no chain may repeat (default: every validation.jsonl and "
        "test.jsonl in the data directory; --against without files compares with none)",
    )
    add("--per-problem", type=int, metavar="N", help="most chains of one problem (default: all)")
    add(
        "--choose",
        default="first",
        metavar="HOW",
        help="which of a problem's chains, where there are more: first, random, or diverse, each "
        "as unlike the others as can be (default: first)",
    )
    add("--seed", type=int, default=0, help="of --choose random (default: 0)")
    add(
        "--near-duplicates",
        type=float,
        default=0.8,
        metavar="S",
        help="leave out a chain with the same calculation as another of its problem and words that "
        "are alike by this share; 2 leaves out equal texts only (default: 0.8)",
    )
    add("--samples", type=int, metavar="N", help="only each problem's first N samples")
    add(
        "--share",
        type=float,
        default=1.0,
        metavar="P",
        help="only chains of this share of the problems; a smaller share's are among a larger's "
        "(default: 1)",
    )
    add("--keep-wrong-steps", action="store_true", help="keep right chains with a false equation")
    add("--keep-wrong", action="store_true", help="keep wrong chains, to see what filtering gains")
    add("--negatives", action="store_true", help="write wrong chains to negatives.jsonl")
    add(
        "--lengths",
        type=int,
        nargs=2,
        metavar=("INPUTS", "TARGETS"),
        help="leave out what is longer in the student's tokens (default: nothing)",
    )
    add(
        "--soft-labels",
        type=int,
        metavar="K",
        help="leave out a chain without log-probabilities of K alternatives for each of its tokens "
        "(generate --top-logprobs K), and count what they become in the student's tokens",
    )
    add("--vocab", default="t5", help="the student's: t5, byt5 or mt5 (default: t5)")
    add(
        "--name",
        metavar="NAME",
        help="stands for the teacher in the set's name, so that sets of one teacher, curated "
        "differently, lie side by side (default: the teacher)",
    )


def run(args: argparse.Namespace) -> None:
    """Curate one set and print what became of it."""
    import os

    from t5distill.curate import curating
    from t5distill.curate.filtering import Rules
    from t5distill.errors import UserError
    from t5distill.records import read_problems

    rules = Rules(
        keep_wrong_steps=args.keep_wrong_steps,
        keep_wrong=args.keep_wrong,
        near=args.near_duplicates,
        per_problem=args.per_problem,
        choose=args.choose,
        seed=args.seed,
        negatives=args.negatives,
        lengths=tuple(args.lengths) if args.lengths else None,
        vocab=args.vocab,
        soft_labels=args.soft_labels,
    )
    if args.allow_unsafe:
        execution.allow_unsafe()
    if args.samples is not None and args.samples < 1:
        raise UserError(f"--samples {args.samples}: wanted at least 1")
    if not 0.0 < args.share <= 1.0:
        raise UserError(f"--share {args.share}: wanted more than 0 and at most 1")
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers {args.workers}: wanted at least 1")
    problems = read_problems(args.problems)
    evaluation, against = _evaluation(args.against)
    chains, count = _chains(args, problems)
    if args.samples is not None:
        chains = (chain for chain in chains if chain.sample < args.samples)
    if args.share < 1.0:
        drawn = _drawn(problems, args.share, seed=args.seed)
        chains = (chain for chain in chains if chain.problem_id in drawn)
    report, out = curating.curate_set(
        problems,
        chains,
        rules=rules,
        evaluation=evaluation,
        count=count,
        out=args.out,
        named=args.name,
        sources=[*args.problems, *_sources(args)],
        workers=args.workers or os.cpu_count() or 1,
        about={"share": args.share, "samples": args.samples, "against": against},
    )
    print(_told(report))
    print(f"\nwrote {out}/kept.jsonl, rejected.jsonl, curation.json")
    print(f"the TFDS set is {report['tfds']}; task {report['task']} reads it")
    if "soft_labels" in report:
        print(f"with the log-probabilities: {_soft_task(report['task'])} (docs/soft_labels.md)")
    if report["replaced"]:
        print(f"it took the place of a set of {report['replaced']:,} chains")
    if report["kept_of_evaluation_splits"]:
        print(
            f"warning: {report['kept_of_evaluation_splits']:,} of its chains answer validation or "
            "test problems; a student that learns them must not be scored there"
        )


def _drawn(ids: Iterable[str], share: float, *, seed: int) -> set[str]:
    """Return about that share of the problems; those of a smaller share are among them.

    Each problem has a number of its own, whichever others there are.
    """
    import hashlib

    def number(problem_id: str) -> float:
        return int.from_bytes(hashlib.sha256(f"{seed} {problem_id}".encode()).digest()[:6]) / 2**48

    return {problem_id for problem_id in ids if number(problem_id) < share}


def _soft_task(task: str) -> str:
    """Return the task of a set that has its log-probabilities too."""
    from t5distill import formats

    styles = (s for s in sorted(formats.STYLES, key=len) if f"{s}_soft" in formats.STYLES)
    for style in styles:
        if f"_{style}_" in task:
            return task.replace(f"_{style}_", f"_{style}_soft_", 1)
    return f"one that you register, {task} has no soft style"


def _sources(args: argparse.Namespace) -> list[str]:
    return args.chains or ([args.ledger] if args.ledger else [])


def _chains(
    args: argparse.Namespace, problems: Mapping[str, Problem]
) -> tuple[Iterator[Chain], int | None]:
    """Return the chains, and how many they may be where they come in order.

    Raises:
      UserError: there are none.
    """
    import itertools

    from t5distill import formats
    from t5distill.errors import UserError, suggest
    from t5distill.records import STYLES, Chain, read_jsonl

    count = None
    if not problems:
        raise UserError(f"{', '.join(args.problems)}: no problem there")
    if args.style not in (None, *STYLES):
        raise UserError(f"--style {args.style}: {suggest(args.style, STYLES)}")
    if args.gold:
        if formats.style(args.gold).chains not in formats.GOLD:
            raise UserError(
                f"--gold {args.gold}: benchmarks come with solutions in words; wanted one of "
                f"{', '.join(formats.GOLD)}"
            )
        gold = (formats.gold_chain(problems[i], style=args.gold) for i in sorted(problems))
        chains, count = (chain for chain in gold if chain is not None), len(problems)
    elif args.ledger:
        from t5distill.teacher import accounts

        kinds = {
            "benchmarks": sorted({p.benchmark for p in problems.values()}),
            "style": args.style,
            "teacher": args.teacher,
        }
        count = accounts.count(args.ledger, **kinds)
        found = accounts.chains(args.ledger, **kinds)
        chains = (chain for chain in found if chain.problem_id in problems)
    else:
        chains = (
            chain
            for path in args.chains
            for chain in read_jsonl(Chain, path)
            if args.style in (None, chain.style) and args.teacher in (None, chain.teacher)
        )
    head = next(chains, None)
    if head is None:
        only = [f"--{k} {v}" for k in ("style", "teacher") if (v := getattr(args, k))]
        look = f"; `t5distill ledger show {args.ledger}` says what it has" if args.ledger else ""
        raise UserError(
            f"no chains of these problems{' with ' if only else ''}{' '.join(only)} in "
            f"{', '.join(_sources(args) or args.problems)}{look}"
        )
    return itertools.chain([head], chains), count


def _evaluation(files: list[str] | None) -> tuple[list[Problem], list[dict[str, Any]]]:
    """Return the problems that no chain may repeat, and the files they are from."""
    from t5distill.errors import UserError
    from t5distill.records import Problem, data_dir, file_sha256, read_jsonl

    found: list[Problem] = []
    against = []
    own = [p for s in ("validation", "test") for p in sorted(data_dir().glob(f"*/{s}.jsonl"))]
    for path in own if files is None else files:
        try:
            some = list(read_jsonl(Problem, path))
        except UserError as e:
            if files is not None:
                raise
            print(f"not compared with: {e}")
            continue
        found += some
        against.append({"file": str(path), "problems": len(some), "sha256": file_sha256(path)})
    return found, against


_SAID = {
    "wrong": "another answer than the gold one",
    "no_answer": "no answer to be found",
    "truncated": "cut off before the answer",
    "error": "the gold answer cannot be read, or the program failed",
    "timeout": "the program ran for too long",
    "rejected": "the program did what is forbidden, or is none",
    "leak": "gives away that the answer was shown",
    "wrong_step": "right, with a false equation",
    "too_long": "longer than --lengths",
    "overlap": "a problem of an evaluation split",
    "overlap_near": "nearly a problem of an evaluation split",
    "logprobs": "not the log-probabilities that --soft-labels needs",
    "duplicate": "the text of another chain of the problem",
    "near_duplicate": "nearly the text of another chain",
    "cap": "more than --per-problem",
}


def _told(report: Mapping[str, Any]) -> str:
    """Return the table of what became of the chains; its rows add up."""
    total = report["in"]
    rows = [
        ("in", total, f"of {report['problems']:,} problems"),
        ("kept", report["kept"], f"of {report['problems_kept']:,} problems"),
    ]
    if report["rules"]["negatives"]:
        rows.append(("negatives", report["negatives"], "wrong, kept apart"))
    rows += [(name, count, _SAID.get(name, "")) for name, count in report["rejected"].items()]
    lines = [
        f"{name:<15}{count:>10,}{100 * count / total:>8.1f} %   {about}".rstrip()
        for name, count, about in rows
    ]
    if report["cut"]:
        lines.append(f"\n{report['cut']:,} ran on and were cut before they were judged")
    if "soft_labels" in report:
        lines.append(_told_of_soft_labels(report["soft_labels"]))
    if "isolation" in report:
        lines.append(f"\ntexts were executed behind {report['isolation']}")
    problems = sum(file["problems"] for file in report["against"])
    lines.append(
        f"\ncompared with {problems:,} evaluation problems of {len(report['against'])} files"
        if problems
        else "\ncompared with no evaluation problems: give some with --against"
    )
    return "\n".join(lines)


def _told_of_soft_labels(soft: Mapping[str, Any]) -> str:
    """Return what the kept chains' log-probabilities become in the student's tokens."""
    cases = ", ".join(
        f"{name.replace('_', ' ')} {count:,}" for name, count in soft["cases"].items() if count
    )
    return (
        f"\nsoft labels of {soft['top']} alternatives: {100 * soft['with_soft_target']:.1f} % of "
        f"{soft['tokens']:,} tokens ({soft['vocab']}), with {100 * soft['mass']:.1f} % of the "
        f"probability\nteacher's tokens to student's: {cases}"
    )
