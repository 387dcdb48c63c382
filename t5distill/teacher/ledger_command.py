"""`t5distill ledger`: what a ledger holds and cost; chains out of it and into it."""

from __future__ import annotations

import argparse
import datetime
import itertools
import time

HELP = (
    "Show what a ledger holds and what it cost; export its chains; import chains made elsewhere; "
    "abandon a batch that will never come back."
)
EXAMPLE = "t5distill ledger show gsm8k.db"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=("show", "export", "import", "abandon"))
    parser.add_argument("ledger", metavar="DB")
    parser.add_argument("--out", metavar="F", help="of export: JSONL of Chain")
    parser.add_argument("--style", help="only chains of this style; of import with --rows: theirs")
    parser.add_argument("--teacher", help="only chains of this teacher; with --rows: their name")
    parser.add_argument("--benchmark", help="of export: only chains of this benchmark")
    parser.add_argument(
        "--chains", nargs="+", metavar="F", help="of import: JSONL of Chain, or see --rows"
    )
    parser.add_argument("--problems", nargs="+", metavar="F", help="of import: JSONL of Problem")
    parser.add_argument(
        "--rows",
        metavar="F",
        help="of import: JSONL of the questions that --chains answers, where those are published "
        "files: lists of texts (.json), row by row, or JSONL joined on --id-field",
    )
    parser.add_argument("--id-field", default="id", help="of JSONL with --rows (default: id)")
    parser.add_argument(
        "--text-field", default="completion", help="of JSONL with --rows (default: completion)"
    )
    parser.add_argument(
        "--batch",
        metavar="ID",
        help="of abandon: an open batch, whose samples stay charged and are asked for again",
    )


def run(args: argparse.Namespace) -> None:
    """Do what is asked."""
    actions = {"show": _show, "export": _export, "import": _import, "abandon": _abandon}
    actions[args.action](args)


def _show(args: argparse.Namespace) -> None:
    from t5distill.teacher import accounts

    found = accounts.overview(args.ledger)
    width = max([len(" ".join(row[:3])) for row in found["sets"]] + [len("chains of")])
    print(f"{'chains of':{width}}  {'asked for':>10}  {'answered':>10}")
    for *names, items, answers in found["sets"]:
        print(f"{' '.join(names):{width}}  {items:10,}  {answers:10,}")
    attempts = found["attempts"]
    print(f"\nrequests: {sum(attempts.values()):,}")
    for outcome, count in attempts.items():
        print(f"  {outcome:<10}{count:>10,}")
    for error, count in found["errors"]:
        print(f"  {count:>6,} x {error[:90]}")
    if found["batches"]:
        print("\nopen batches, charged in full until they have ended:")
    for name, server, status, total, completed, failed, started in found["batches"]:
        since = datetime.timedelta(seconds=round(max(0.0, time.time() - started)))
        print(
            f"  {name or 'not created yet'} at {server}, {status or 'not seen yet'}: "
            f"{max(0, completed):,} of {total:,} done, {max(0, failed):,} failed, {since} old"
        )
    cost = found["cost"]
    money = f", cost {cost.money:.4f}" if cost.money else ""
    print(
        f"\nspent, at most: {cost.prompt_tokens:,} prompt and {cost.completion_tokens:,} reply "
        f"tokens{money}"
    )


def _export(args: argparse.Namespace) -> None:
    from t5distill.errors import UserError
    from t5distill.records import write_jsonl
    from t5distill.teacher import accounts

    if not args.out:
        raise UserError("export wants --out FILE")
    chains = accounts.chains(
        args.ledger,
        benchmarks=[args.benchmark] if args.benchmark else [],
        style=args.style,
        teacher=args.teacher,
    )
    head = next(chains, None)
    if head is None:
        raise UserError(f"{args.ledger}: no such chains; `t5distill ledger show` lists what it has")
    count = write_jsonl(args.out, itertools.chain([head], chains))
    print(f"{count} chains written to {args.out}")


def _import(args: argparse.Namespace) -> None:
    from t5distill.errors import UserError, suggest
    from t5distill.records import STYLES, Chain, read_jsonl, read_problems
    from t5distill.teacher import foreign
    from t5distill.teacher.imports import import_chains

    if not args.chains or not args.problems:
        raise UserError("import wants --chains F and the --problems that they solve")
    problems = read_problems(args.problems)
    if args.rows:
        if args.style not in (None, *STYLES):
            raise UserError(f"--style {args.style!r}; {suggest(args.style, STYLES)}")
        if not args.teacher:
            raise UserError("import with --rows wants --teacher, the name of who wrote the chains")
        chains, strangers = foreign.read(
            args.chains,
            args.rows,
            problems,
            teacher=args.teacher,
            style=args.style or "cot",
            id_field=args.id_field,
            text_field=args.text_field,
        )
        if strangers:
            print(
                f"{strangers} texts are left out: their questions are in none of the problem files"
            )
    else:
        chains = [c for path in args.chains for c in read_jsonl(Chain, path)]
    stranger = next((c for c in chains if c.problem_id not in problems), None)
    if stranger is not None:
        raise UserError(
            f"a chain for {stranger.problem_id!r}, which is in none of the problem files"
        )
    new = import_chains(args.ledger, chains, {p.id: p.benchmark for p in problems.values()})
    print(f"{len(chains)} chains, {new} of them new in {args.ledger}")


def _abandon(args: argparse.Namespace) -> None:
    from t5distill.errors import UserError
    from t5distill.teacher.batch import book

    if not args.batch:
        raise UserError("abandon wants --batch ID, see `t5distill ledger show`")
    lines = book.abandon(args.ledger, args.batch)
    print(f"{args.batch} given up: {lines} requests stay charged and will be asked again")
