"""The command `prepare`: official benchmark files, or generators, to Problem files in splits."""

from __future__ import annotations

import argparse
import difflib
import pathlib
from typing import TYPE_CHECKING, Any

from t5distill import places, records
from t5distill.errors import UserError

if TYPE_CHECKING:
    from t5distill.problems.benchmarks import Splits

HELP = "turn a benchmark's official files into train, validation and test problems"
EXAMPLE = """t5distill prepare gsm8k --raw downloads/gsm8k
  t5distill prepare asdiv --raw ASDiv.xml --folds 5 --fold 0 --out data/fold0
  t5distill prepare embedded"""

NAMES = (
    "gsm8k, svamp, asdiv, addsub, multiarith, singleeq, singleop, mawps (these four together), "
    "gsm_hard, aqua, strategyqa, commonsenseqa, bbh (all 27 tasks) or bbh_TASK, from official "
    "files; embedded, coin_flip, last_letter, which are generated"
)


# More are no new problems for a model, and take hours to draw.
MOST_GENERATED = 2_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("benchmark", metavar="BENCHMARK", help=NAMES)
    parser.add_argument(
        "--raw",
        metavar="PATH",
        help="folder or file as published; for gsm8k also `tfds` (downloads); generators need none",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="write DIR/BENCHMARK/{train,validation,test}.jsonl and prepare.json "
        "(default: $T5DISTILL_DATA_DIR, else ./data)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides every random choice")
    parser.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate a benchmark without official splits in K folds; give each fold its "
        "own --out",
    )
    parser.add_argument("--fold", type=int, metavar="I", help="which fold is test, 0 to K-1")
    parser.add_argument(
        "--validation-fraction",
        type=float,
        metavar="F",
        help="share of the training problems that becomes validation, where no official "
        "validation file exists (default: 0.1)",
    )
    parser.add_argument(
        "--test-fraction",
        type=float,
        metavar="F",
        help="share that becomes test, where there is neither an official split nor --folds "
        "(default: 0.3)",
    )
    parser.add_argument(
        "--allow-overlap",
        action="store_true",
        help="where official files share questions, drop the copies in train instead of refusing",
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs=4,
        metavar=("TRAIN", "VALIDATION", "TEST", "OUT_OF_DOMAIN"),
        help="for the generators: problems per split",
    )


def run(args: argparse.Namespace) -> int:
    """Read or generate, divide, check, write everything or nothing, and say what was written."""
    if args.raw is None or not places.is_remote(args.raw):
        return _prepare(args)
    with places.fetched(args.raw) as raw:
        return _prepare(argparse.Namespace(**{**vars(args), "raw": str(raw)}))


def _prepare(args: argparse.Namespace) -> int:
    from t5distill.problems import benchmarks, publishing, splitting

    names = _benchmarks(args.benchmark)
    if len(names) > 1 and args.raw is not None and pathlib.Path(args.raw).is_file():
        raise UserError(f"{args.raw}: {args.benchmark} needs the folder with all its files")
    out = _out(args.out)
    if args.benchmark in benchmarks.GENERATED:
        made, notes = _generated(args)
    else:
        made, notes = {}, {}
        for name in names:
            made[name], notes[name] = _official(name, args)
    labelled = {name: splitting.label(splits) for name, splits in made.items()}
    for name, splits in labelled.items():
        splitting.refuse_overlap(splits, benchmark=name)
    publishing.publish(out, labelled, notes)
    _report(out, labelled, notes)
    return 0


def _benchmarks(name: str) -> tuple[str, ...]:
    """Return the benchmarks that a name stands for."""
    from t5distill.problems import benchmarks

    known = [*benchmarks.OFFICIAL, *benchmarks.FAMILIES, *benchmarks.GENERATED]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"no benchmark {name!r}{hint} Known: {NAMES}")
    return benchmarks.FAMILIES.get(name, (name,))


def _out(given: str | None) -> pathlib.Path:
    """Return the output folder."""
    return places.place(given) if given is not None else records.data_dir()


def _generated(args: argparse.Namespace) -> tuple[dict[str, Splits], dict[str, dict[str, Any]]]:
    """Run a generator; return the splits and the notes of each benchmark that it makes."""
    from t5distill.problems import benchmarks

    _refuse(
        args,
        "a generator has no files to read or to divide",
        ("raw", "folds", "fold", "validation_fraction", "test_fraction", "allow_overlap"),
    )
    generator = benchmarks.GENERATED[args.benchmark]
    sizes = tuple(args.sizes) if args.sizes else generator.sizes
    if min(sizes) < 0:
        raise UserError(f"--sizes {' '.join(map(str, sizes))}: wanted no negative number")
    if not 0 < sum(sizes) <= MOST_GENERATED:
        raise UserError(
            f"--sizes {' '.join(map(str, sizes))}: wanted 1 to {MOST_GENERATED:,} problems in all"
        )
    made = generator.make(args.seed, sizes)
    return made, {name: {"seed": args.seed, "sizes": sizes, "sources": []} for name in made}


def _official(name: str, args: argparse.Namespace) -> tuple[Splits, dict[str, Any]]:
    """Read a benchmark's official files and divide them."""
    from t5distill.problems import benchmarks, splitting

    _refuse(args, f"{name} has the size that its files have", ("sizes",))
    if args.raw is None:
        files = ", ".join(" or ".join(part.names) for part in benchmarks.OFFICIAL[name])
        raise UserError(f"{name}: --raw is missing; give the folder or file with {files}")
    official, sources = _read(name, args)
    notes: dict[str, Any] = {"seed": args.seed, "sources": sources}
    if benchmarks.WHOLE in official:
        splits = _divided(name, official[benchmarks.WHOLE], args, notes)
    else:
        _refuse(args, f"{name} has official splits", ("folds", "fold", "test_fraction"))
        splits, dropped = splitting.drop_overlap(official, benchmark=name, allow=args.allow_overlap)
        notes["dropped_from_train"] = dropped
        if "validation" not in splits and "train" in splits:
            _carve_validation(name, splits, args, notes)
        else:
            _refuse(args, f"{name} gives no validation to carve", ("validation_fraction",))
    notes["duplicates_kept"] = sum(
        len(group) - 1 for split in splits.values() for group in splitting.groups(split)
    )
    return splits, notes


def _read(name: str, args: argparse.Namespace) -> tuple[Splits, list[dict[str, Any]]]:
    """Return problems by official split, and what each source file was."""
    from t5distill.problems import benchmarks, gsm8k, source

    if args.raw == "tfds":
        if name != "gsm8k":
            raise UserError(f"{name}: only gsm8k is read through TFDS; give a folder or file")
        official = {split: list(gsm8k.read_tfds(split)) for split in ("train", "test")}
        return official, [{"tfds": "gsm8k", "records": sum(map(len, official.values()))}]
    official, sources = {}, []
    located = benchmarks.locate(name, pathlib.Path(args.raw))
    for part in benchmarks.OFFICIAL[name]:
        if part not in [found for found, _ in located]:
            print(f"{name}: {args.raw} has no {' or '.join(part.names)}: no {part.split} split")
    for part, path in located:
        problems = list(part.read(path, part.split))
        if not problems:
            raise UserError(f"{path}: holds no problems of {name}")
        official.setdefault(part.split, []).extend(problems)
        sources.append(
            {
                "file": path.name,
                "sha256": source.sha256(path),
                "split": part.split,
                "records": len(problems),
            }
        )
    return official, sources


def _divided(
    name: str, problems: list[records.Problem], args: argparse.Namespace, notes: dict[str, Any]
) -> Splits:
    """Divide a benchmark that has no official splits, by folds or by --test-fraction."""
    from t5distill.problems import splitting

    if (args.folds is None) != (args.fold is None):
        raise UserError("--folds K and --fold I go together")
    if args.folds is None:
        fraction = _fraction(args.test_fraction, 0.3, "--test-fraction")
        key = f"{name} test {args.seed}"
        count = splitting.share(len(problems), fraction)
        test, train = splitting.carve(problems, count, key=key)
        notes["test_fraction"] = fraction
    else:
        _refuse(args, "--folds decides the size of test", ("test_fraction",))
        if args.folds < 2 or not 0 <= args.fold < args.folds:
            raise UserError(f"--folds {args.folds} --fold {args.fold}: wanted K >= 2, 0 <= I < K")
        key = f"{name} folds {args.seed}"
        test, train = splitting.fold(problems, args.folds, args.fold, key=key)
        notes |= {"folds": args.folds, "fold": args.fold}
    splits = {"train": train, "test": test}
    if not train or (args.folds is not None and not test):
        raise UserError(f"{name}: {len(problems)} problems are too few to divide like that")
    _carve_validation(name, splits, args, notes)
    return splits


def _carve_validation(
    name: str, splits: Splits, args: argparse.Namespace, notes: dict[str, Any]
) -> None:
    """Move a share of train into validation."""
    from t5distill.problems import splitting

    fraction = _fraction(args.validation_fraction, 0.1, "--validation-fraction")
    fold = "" if args.fold is None else f" fold {args.fold}"
    count = splitting.share(len(splits["train"]), fraction)
    key = f"{name} validation {args.seed}{fold}"
    splits["validation"], splits["train"] = splitting.carve(splits["train"], count, key=key)
    notes["validation_fraction"] = fraction


def _fraction(given: float | None, default: float, flag: str) -> float:
    """Return a fraction in [0, 1)."""
    fraction = default if given is None else given
    if not 0 <= fraction < 1:
        raise UserError(f"{flag} {fraction}: wanted at least 0 and below 1")
    return fraction


def _refuse(args: argparse.Namespace, reason: str, names: tuple[str, ...]) -> None:
    """Refuse flags that would be ignored."""
    for name in names:
        if getattr(args, name) not in (None, False):
            raise UserError(f"--{name.replace('_', '-')} does not go with this: {reason}")


def _report(out: pathlib.Path, made: dict[str, Splits], notes: dict[str, dict[str, Any]]) -> None:
    """Print a table of what was written, and what to type next."""
    width = max(len(name) for name in [*made, "benchmark"])
    print(f"{'benchmark':{width}}  {'train':>7}  {'validation':>10}  {'test':>7}")
    for name, splits in made.items():
        counts = {split: len(splits.get(split, [])) for split in records.SPLITS}
        print(
            f"{name:{width}}  {counts['train']:7,}  {counts['validation']:10,}  {counts['test']:7,}"
        )
    for name, note in notes.items():
        if note.get("dropped_from_train"):
            dropped = note["dropped_from_train"]
            print(f"{name}: {dropped} training copies of held-out questions dropped")
        if note.get("duplicates_kept"):
            print(f"{name}: {note['duplicates_kept']} repeated questions, each within one split")
    first, splits = next(iter(made.items()))
    print(f"written to {out}/; to look: head -1 {out / first / next(iter(splits))}.jsonl")
    print(f"next: {_next(out / first, splits)}")


def _next(folder: pathlib.Path, splits: Splits) -> str:
    """Return the command that goes on from here."""
    if not splits.get("train"):
        return f"t5distill score --problems {folder / 'test.jsonl'} --predictions PREDICTIONS.jsonl"
    command = f"t5distill curate --problems {folder / 'train.jsonl'}"
    if any(problem.solution for problem in splits["train"]):
        return f"{command} --gold cot (a teacher's: t5distill generate, then --ledger DB)"
    train = folder / "train.jsonl"
    return f"t5distill generate --problems {train} --teacher MODEL@URL --ledger DB"
