"""Write a set of chains as a TFDS dataset that SeqIO reads without any builder code."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from t5distill import __version__, places, quiet, records
from t5distill.curate import spool, staging
from t5distill.errors import UserError
from t5distill.records import Chain, Problem

VERSION = "1.0.0"
MANIFEST = "manifest.json"

# One shard makes every host of a pod read everything, and a small set in many files reads slowly.
_MANY = 50_000
_MIN_SHARDS_OF_MANY = 64
_EXAMPLES_PER_SHARD = 10_000

_BATCH = 1000
_SCHEMA = """
CREATE TABLE problems (id TEXT PRIMARY KEY, json TEXT) WITHOUT ROWID;
CREATE TABLE examples (key BLOB, id TEXT, sample INTEGER, chain TEXT);
"""
# The first chain of each problem is marked: the answer-only student sees a problem once.
_IN_STORED_ORDER = """
WITH firsts AS (
  SELECT place FROM (
    SELECT rowid AS place, row_number() OVER (PARTITION BY id ORDER BY sample, chain) AS position
    FROM examples
  ) WHERE position = 1
)
SELECT id, json, chain, examples.rowid IN firsts
FROM examples JOIN problems USING (id) ORDER BY key, id, sample, chain
"""


def write_tfds(
    name: str,
    pairs: Iterable[tuple[Problem, Chain]],
    *,
    root: str | os.PathLike[str] | None = None,
    sources: Sequence[str | os.PathLike[str]] = (),
    soft_labels: int | None = None,
) -> pathlib.Path:
    """Write `root/name/1.0.0/` with a manifest; an existing set is replaced whole or not at all.

    The same pairs give the same bytes, whatever their order: examples are stored in the order of a
    hash, so that neighbours in a file are unrelated and a shuffle buffer suffices in training.
    Memory grows with the problems, not with the chains.

    Args:
      name: the set's name, by convention `{benchmark}_{style}_{teacher}` (see `set_name`).
      pairs: problems with the chains to train on; a problem may have several.
      root: where sets live; None means `tfds` under $T5DISTILL_DATA_DIR.
      sources: the files that the chains came from, recorded with their hashes.
      soft_labels: how many alternatives each token of each chain was found to have, recorded; None
        where nobody looked.

    Returns:
      the set's directory.

    Raises:
      UserError: the name is no set's name, there are no pairs, or a chain is of another problem.
    """
    check_name(name)
    root = places.place(root) if root is not None else records.data_dir() / "tfds"
    staging.restore(root / name)
    with staging.staging(root, name) as folder:
        with spool.Spool(folder / "spool.db", _SCHEMA) as examples:
            manifest = _gather(examples, pairs)
            if not manifest["examples"]["train"]:
                raise UserError(f"no chains to write to {root / name}")
            manifest |= {"name": name, "sources": [_source(places.place(p)) for p in sources]}
            if soft_labels is not None:
                manifest["soft_labels"] = soft_labels
            _write_set(folder / "set", name, examples, manifest)
        staging.replace(folder / "set", root / name, last=f"{VERSION}/{MANIFEST}")
    return root / name / VERSION


def set_name(benchmark: str, style: str, teacher: str) -> str:
    """Return the name of a chain set; characters that TFDS and SeqIO refuse become `_`."""
    return re.sub(r"\W", "_", f"{benchmark}_{style}_{teacher}", flags=re.ASCII)


def check_name(name: str) -> None:
    """Raise UserError where TFDS or a file system would refuse a set's name."""
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or len(name) > 200:
        raise UserError(
            f"{name!r} cannot name a set: wanted at most 200 letters, digits and _, a letter first"
        )


def examples_of(name: str) -> int:
    """Return how many examples the set of a name has in the data directory; 0 without one."""
    manifest = records.data_dir() / "tfds" / name / VERSION / MANIFEST
    try:
        return int(json.loads(manifest.read_text(encoding="utf-8"))["examples"]["train"])
    except (OSError, ValueError, KeyError):
        return 0


def shard_count(examples: int) -> int:
    """Return how many files a set of so many examples is written to."""
    shards = math.ceil(examples / _EXAMPLES_PER_SHARD)
    return max(shards, _MIN_SHARDS_OF_MANY) if examples > _MANY else max(shards, 1)


def _gather(examples: spool.Spool, pairs: Iterable[tuple[Problem, Chain]]) -> dict[str, Any]:
    """Put the examples aside, to be read in stored order; return the manifest's counts."""
    benchmarks, styles, teachers, ids = set(), set(), set(), set()
    count = 0
    pairs = iter(pairs)
    while some := list(itertools.islice(pairs, _BATCH)):
        rows, problems = [], []
        for problem, chain in some:
            if chain.problem_id != problem.id:
                raise UserError(f"chain of {chain.problem_id!r} paired with problem {problem.id!r}")
            text = records.to_json(chain)
            key = hashlib.sha256(f"{problem.id}\0{text}".encode()).digest()
            rows.append((key, problem.id, chain.sample, text))
            if problem.id not in ids:
                problems.append((problem.id, records.to_json(problem)))
                ids.add(problem.id)
            benchmarks.add(problem.benchmark)
            styles.add(chain.style)
            teachers.add(chain.teacher)
        examples.add("INSERT INTO problems VALUES (?, ?)", problems)
        examples.add("INSERT INTO examples VALUES (?, ?, ?, ?)", rows)
        count += len(rows)
    return {
        "version": VERSION,
        "examples": {"train": count},
        "problems": len(ids),
        "shards": shard_count(count),
        "benchmarks": sorted(benchmarks),
        "styles": sorted(styles),
        "teachers": sorted(teachers),
        "t5distill": __version__,
    }


def _write_set(
    directory: pathlib.Path, name: str, examples: spool.Spool, manifest: dict[str, Any]
) -> None:
    """Write `directory/VERSION`: shards, TFDS metadata and the manifest."""
    quiet.import_tensorflow()
    import tensorflow as tf
    import tensorflow_datasets as tfds

    directory = directory / VERSION
    directory.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "problem": tfds.features.Text(),
            "chain": tfds.features.Text(),
            "first": tf.int64,
        }
    )
    shards, count = manifest["shards"], manifest["examples"]["train"]
    bounds = [round(i * count / shards) for i in range(shards + 1)]
    content = hashlib.sha256()
    size = 0
    rows = examples.rows(_IN_STORED_ORDER)
    for shard in range(shards):
        path = directory / f"{name}-train.tfrecord-{shard:05d}-of-{shards:05d}"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in itertools.islice(rows, bounds[shard + 1] - bounds[shard]):
                fields = zip(("id", "problem", "chain", "first"), example, strict=True)
                record = features.serialize_example(dict(fields))
                writer.write(record)
                content.update(hashlib.sha256(record).digest())
                size += len(record)
    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features=features,
        split_infos=[
            tfds.core.SplitInfo(
                name="train",
                shard_lengths=[b - a for a, b in itertools.pairwise(bounds)],
                num_bytes=size,
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=tfds.core.Path(directory),
                    dataset_name=name,
                    split="train",
                    filetype_suffix="tfrecord",
                ),
            )
        ],
        version=VERSION,
        description="Chains written by t5distill; see manifest.json.",
    )
    records.write_json(directory / MANIFEST, {**manifest, "sha256": content.hexdigest()})


def _source(path: pathlib.Path) -> dict[str, str]:
    """Describe a source file by its name and content; its place on this machine is no matter."""
    return {"file": path.name, "sha256": records.file_sha256(path)}
