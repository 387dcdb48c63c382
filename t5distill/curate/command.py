"""`t5distill curate`: verify chains and write a training set."""

from __future__ import annotations

import argparse
import collections
import pathlib

HELP = "Verify chains against the gold answers; write what is kept, what is not and why."
EXAMPLE = "t5distill curate --problems data/svamp/train.jsonl --ledger svamp.db"


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
        help="take the problems' own solutions as chains of this style (cot)",
    )
    parser.add_argument("--style", help="with --ledger: only chains of this style")
    parser.add_argument("--teacher", help="with --ledger: only chains of this teacher")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where kept.jsonl, rejected.jsonl and curation.json go "
        "(default: chains/{benchmark}_{style}_{teacher} under $T5DISTILL_DATA_DIR or ./data); the "
        "TFDS set goes to tfds/ there in any case, in place of one of the same name",
    )


def run(args: argparse.Namespace) -> None:
    """Curate one set and print what became of it."""
    from t5distill import formats
    from t5distill.errors import UserError
    from t5distill.records import Chain, read_jsonl, read_problems

    problems = read_problems(args.problems)
    if args.gold:
        formats.style(args.gold)
        gold = (formats.gold_chain(p, style=args.gold) for p in problems.values())
        chains = [c for c in gold if c is not None]
    elif args.ledger:
        from t5distill.teacher import accounts

        kinds = {"style": args.style, "teacher": args.teacher}
        benchmarks = sorted({p.benchmark for p in problems.values()})
        found = accounts.chains(args.ledger, benchmarks=benchmarks, **kinds)
        chains = [c for c in found if c.problem_id in problems]
    else:
        chains = [c for path in args.chains for c in read_jsonl(Chain, path)]
    sources = args.chains or ([args.ledger] if args.ledger else [])
    if not chains:
        raise UserError(f"no chains of these problems in {', '.join(sources or args.problems)}")
    report, out = curate_set(problems, chains, out=args.out, sources=[*args.problems, *sources])
    print(f"{report['in']} chains in, {report['kept']} kept ({100 * report['keep_rate']:.1f} %)")
    for reason, count in report["rejected"].items():
        print(f"  {reason:<12}{count:>8} left out")
    print(f"\nwrote {out}/kept.jsonl, rejected.jsonl, curation.json")
    print(f"the TFDS set is {report['tfds']}; task {report['task']} reads it")


def curate_set(problems, chains, *, out=None, sources=()):
    """Curate the chains of one benchmark, style and teacher; return the report and its directory.

    Args:
      problems: by id.
      chains: list of Chain.
      out: directory of the JSON files; by default under the data directory.
      sources: files that the chains came from, for the manifest.

    Raises:
      UserError: the chains are of several styles, teachers or benchmarks, or none is kept.
    """
    from t5distill import formats
    from t5distill.curate import filtering, tfds_writer
    from t5distill.errors import UserError
    from t5distill.records import data_dir, write_json, write_jsonl

    curated = filtering.curate(problems, chains)
    benchmark = _only("benchmark", (problems[c.problem_id].benchmark for c in chains))
    style = _only("style", (c.style for c in chains))
    formats.style(style)  # raises where no task could read the set
    teacher = _only("teacher", (c.teacher for c in chains))
    name = tfds_writer.set_name(benchmark, style, teacher)
    directory = pathlib.Path(out) if out else data_dir() / "chains" / name
    report = {"name": name, **curated.report()}
    write_jsonl(directory / "rejected.jsonl", curated.rejected)
    if not curated.kept:
        write_json(directory / "curation.json", report)
        raise UserError(
            f"none of {len(chains)} chains was kept ({report['rejected']}); "
            f"{directory / 'rejected.jsonl'} says why"
        )
    tfds_set = tfds_writer.write_tfds(
        name, ((problems[c.problem_id], c) for c in curated.kept), sources=sources
    )
    report |= {"tfds": str(tfds_set), "task": name}
    write_jsonl(directory / "kept.jsonl", curated.kept)
    write_json(directory / "curation.json", report)
    return report, directory


def _only(what: str, values) -> str:
    """Return the one value there is."""
    from t5distill.errors import UserError

    counts = collections.Counter(values)
    if len(counts) != 1:
        raise UserError(
            f"the chains are of {len(counts)} {what}s ({', '.join(sorted(counts))}); "
            f"curate one {what} at a time"
        )
    return next(iter(counts))
