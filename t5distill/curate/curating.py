"""One set curated: chains in order through the filter, on all cores; files and counts out."""

from __future__ import annotations

import collections
import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import itertools
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from t5distill import formats, places
from t5distill.curate import spool, staging, tfds_writer
from t5distill.curate.counts import Line, Tally
from t5distill.curate.filtering import KEPT, NEGATIVE, REJECTED, Filter, Rules
from t5distill.errors import UserError
from t5distill.formats import vocabulary
from t5distill.records import (
    Chain,
    Problem,
    atomic_write,
    data_dir,
    file_sha256,
    read_jsonl,
    to_json,
    write_json,
)
from t5distill.verify import execution

FILES = {KEPT: "kept.jsonl", REJECTED: "rejected.jsonl", NEGATIVE: "negatives.jsonl"}
REPORT = "curation.json"
# What would have been the set's files, where no chain was kept.
_NONE_KEPT = "none_kept"
# Chains in one piece of work; below so many pieces other processes are not worth their start.
_BATCH = 500
_FEW_BATCHES = 8

Work = list[tuple[Problem, list[Chain]]]


def curate_set(
    problems: Mapping[str, Problem],
    chains: Iterable[Chain],
    *,
    rules: Rules | None = None,
    evaluation: Sequence[Problem] = (),
    count: int | None = None,
    out: str | os.PathLike[str] | None = None,
    named: str | None = None,
    sources: Sequence[str | os.PathLike[str]] = (),
    workers: int = 1,
    about: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], pathlib.Path]:
    """Curate the chains of one benchmark, style and teacher; return the report and its folder.

    Everything is written aside first and takes its place at the end; what stood there before is
    untouched where something fails or no chain is kept.

    Args:
      problems: by id.
      chains: any number of them; a few problems' are in memory at a time.
      rules: what is wanted.
      evaluation: problems that no training chain may repeat.
      count: how many chains there are at most, where they come in order of problem and sample;
        None where their order is any, and then they are put in order on the disk.
      out: folder of the JSON files; by default under the data directory.
      named: stands for the teacher in the set's name.
      sources: files that the chains came from, for the manifest.
      workers: processes.
      about: further fields of the report.

    Raises:
      UserError: the chains are of several styles, teachers or benchmarks, or none is kept.
    """
    rules = rules or Rules()
    chains = iter(chains)
    head = next(chains, None)
    if head is None:
        raise UserError("no chains")
    kinds = _kinds(problems, head)
    formats.style(head.style)  # raises where no task could read the set
    about = dict(about or {})
    if execution.executed_style(head.style):
        about["isolation"] = execution.isolation()
    if rules.soft_labels:
        vocabulary.load(rules.vocab)  # raises here, and not in a worker process
    name = tfds_writer.set_name(*kinds[:2], named or kinds[2])
    tfds_writer.check_name(name)
    directory = places.place(out) if out else data_dir() / "chains" / name
    tally = Tally()
    with staging.staging(directory, "curate") as folder:
        chains = itertools.chain([head], chains)
        if count is None:
            count, chains = spool.in_order(chains, folder / "spool.db")
        lines = _decided(_work(problems, chains, kinds), rules, evaluation, workers)
        shown = tqdm(
            lines, "curate", count, leave=False, unit="chain", disable=not sys.stderr.isatty()
        )
        _write_lines(folder, shown, tally, negatives=rules.negatives)
        evaluated = sum(
            count for i, count in tally.problems_kept.items() if problems[i].split != "train"
        )
        report = {"name": name, **tally.report(), "rules": dataclasses.asdict(rules)}
        report["kept_of_evaluation_splits"] = evaluated
        if rules.soft_labels:
            of = {"top": rules.soft_labels, "vocab": rules.vocab}
            report["soft_labels"] = {**of, **tally.soft_labels()}
        report |= about
        if not report["kept"]:
            raise UserError(_none_kept(folder, directory, report))
        kept = ((problems[c.problem_id], c) for c in read_jsonl(Chain, folder / FILES[KEPT]))
        _check_targets(directory)
        replaced = tfds_writer.examples_of(name)
        written = tfds_writer.write_tfds(name, kept, sources=sources, soft_labels=rules.soft_labels)
        report |= {"tfds": str(written), "task": name}
        _take_place(folder, directory, report)
    return {**report, "replaced": replaced}, directory


def _kinds(problems: Mapping[str, Problem], chain: Chain) -> tuple[str, str, str]:
    """Return benchmark, style and teacher of a chain."""
    problem = problems.get(chain.problem_id)
    if problem is None:
        raise UserError(f"a chain for {chain.problem_id!r}, which is in none of the problem files")
    return problem.benchmark, chain.style, chain.teacher


def _work(
    problems: Mapping[str, Problem], chains: Iterable[Chain], kinds: tuple[str, str, str]
) -> Iterator[Work]:
    """Yield chains by problem, some problems at a time; all must be of the same kinds."""
    work: Work = []
    size = 0
    for problem_id, group in itertools.groupby(chains, key=lambda c: c.problem_id):
        some = list(group)
        for found in {_kinds(problems, chain) for chain in some} - {kinds}:
            for what, one, other in zip(
                ("benchmarks", "styles", "teachers"), kinds, found, strict=True
            ):
                if one != other:
                    raise UserError(
                        f"the chains are of several {what}, e.g. {one} and {other}; curate one "
                        "benchmark, style and teacher at a time (--problems, --style, --teacher)"
                    )
        work.append((problems[problem_id], some))
        size += len(some)
        if size >= _BATCH:
            yield work
            work, size = [], 0
    if work:
        yield work


_filter: Filter | None = None


def _start(rules: Rules, evaluation: Sequence[Problem]) -> None:
    """Make the filter of a worker process, which ends with its parent."""
    global _filter
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    _filter = Filter(rules, evaluation)


def _lines(work: Work, own: Filter | None = None) -> list[Line]:
    """Decide on some problems' chains, with the filter of this process unless one is given."""
    chains_filter = own or _filter
    assert chains_filter is not None
    return [
        Line(
            to_json(decided.chain),
            decided.fate,
            decided.chain.meta["reason"] if decided.fate == REJECTED else None,
            str(decided.chain.verdict),
            "cut" in decided.chain.meta,
            decided.target_tokens,
            problem.id,
            decided.soft,
        )
        for problem, chains in work
        for decided in chains_filter.decide(problem, chains)
    ]


def _decided(
    work: Iterator[Work], rules: Rules, evaluation: Sequence[Problem], workers: int
) -> Iterator[Line]:
    """Yield the decisions in order; a few pieces of work are under way at a time."""
    first = list(itertools.islice(work, _FEW_BATCHES))
    if workers < 2 or len(first) < _FEW_BATCHES:
        own = Filter(rules, evaluation)
        for some in itertools.chain(first, work):
            yield from _lines(some, own)
        return
    # A forked process would inherit locks that threads of this one hold.
    context = multiprocessing.get_context("spawn")
    with (
        _told_of_killed_workers(),
        concurrent.futures.ProcessPoolExecutor(
            workers, context, initializer=_start, initargs=(rules, evaluation)
        ) as pool,
    ):
        under_way: collections.deque[concurrent.futures.Future[list[Line]]] = collections.deque()
        for some in itertools.chain(first, work):
            under_way.append(pool.submit(_lines, some))
            if len(under_way) > 3 * workers:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()


@contextlib.contextmanager
def _told_of_killed_workers() -> Iterator[None]:
    try:
        yield
    except concurrent.futures.process.BrokenProcessPool as e:
        raise UserError("a worker process was killed (out of memory?); try --workers 1") from e


def _write_lines(
    folder: pathlib.Path, lines: Iterable[Line], tally: Tally, *, negatives: bool
) -> None:
    """Write each decision to the file of its fate."""
    with contextlib.ExitStack() as stack:
        files: dict[str, Any] = {
            fate: stack.enter_context(atomic_write(folder / name))
            for fate, name in FILES.items()
            if negatives or fate != NEGATIVE
        }
        for line in lines:
            files[line.fate].write(line.json + "\n")
            tally.add(line)


def _none_kept(folder: pathlib.Path, directory: pathlib.Path, report: dict[str, Any]) -> str:
    """Put the rejected chains where they can be looked at; return what to tell the user."""
    place = directory / _NONE_KEPT
    place.mkdir(exist_ok=True, parents=True)
    for name in FILES.values():
        if (folder / name).exists():
            places.move(folder / name, place / name)
    write_json(place / REPORT, report)
    return f"none of {report['in']} chains was kept ({report['rejected']}); {place} says why"


def _check_targets(directory: pathlib.Path) -> None:
    """Raise UserError where a folder has the name of a file, before anything is replaced."""
    for name in (*FILES.values(), REPORT):
        if (directory / name).is_dir():
            raise UserError(f"{directory / name}: a folder; wanted a file, or another --out")


def _take_place(folder: pathlib.Path, directory: pathlib.Path, report: dict[str, Any]) -> None:
    """Move the files to where they belong; the report, with their hashes, comes last."""
    places.remove_tree(directory / _NONE_KEPT)
    hashes = {}
    for name in FILES.values():
        if (folder / name).exists():
            hashes[name] = file_sha256(folder / name)
            places.move(folder / name, directory / name)
        else:
            (directory / name).unlink(missing_ok=True)
    write_json(directory / REPORT, {**report, "sha256": hashes})
