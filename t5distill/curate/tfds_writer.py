"""Write a set of chains as a TFDS dataset that SeqIO reads without any builder code."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence

from t5distill import __version__, quiet, records
from t5distill.errors import UserError
from t5distill.records import Chain, Problem

VERSION = "1.0.0"
MANIFEST = "manifest.json"

# One shard makes every host of a pod read everything, and a small set in many files reads slowly.
_MANY = 50_000
_MIN_SHARDS_OF_MANY = 64
_EXAMPLES_PER_SHARD = 10_000


def write_tfds(
    name: str,
    pairs: Iterable[tuple[Problem, Chain]],
    *,
    root: str | os.PathLike[str] | None = None,
    sources: Sequence[str | os.PathLike[str]] = (),
) -> pathlib.Path:
    """Write `root/name/1.0.0/` with a manifest; an existing set is replaced whole or not at all.

    The same pairs give the same bytes, whatever their order: examples are stored in the order of a
    hash, so that neighbours in a file are unrelated and a shuffle buffer suffices in training.

    Args:
      name: the set's name, by convention `{benchmark}_{style}_{teacher}` (see `set_name`).
      pairs: problems with the chains to train on; a problem may have several.
      root: where sets live; None means `tfds` under $T5DISTILL_DATA_DIR.
      sources: the files that the chains came from, recorded with their hashes.

    Returns:
      the set's directory.

    Raises:
      UserError: the name is no set's name, there are no pairs, or a chain is of another problem.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise UserError(f"{name!r} cannot name a set: wanted letters, digits and _, a letter first")
    root = pathlib.Path(root) if root is not None else records.data_dir() / "tfds"
    if "://" in os.fspath(root) or root.parts[:1] in (("gs:",), ("s3:",)):
        raise UserError(f"{root}: sets are written to local disks; write there and copy the folder")
    examples = _examples(pairs)
    if not examples:
        raise UserError(f"no chains to write to {root / name}")
    root.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(dir=root, prefix=f".{name}."))
    try:
        os.chmod(temporary, 0o755)
        _write_set(temporary / VERSION, name, examples, sources)
        _replace(temporary, root / name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return root / name / VERSION


def set_name(benchmark: str, style: str, teacher: str) -> str:
    """Return the name of a chain set; characters that TFDS and SeqIO refuse become `_`."""
    return re.sub(r"\W", "_", f"{benchmark}_{style}_{teacher}", flags=re.ASCII)


def shard_count(examples: int) -> int:
    """Return how many files a set of so many examples is written to."""
    shards = math.ceil(examples / _EXAMPLES_PER_SHARD)
    return max(shards, _MIN_SHARDS_OF_MANY) if examples > _MANY else max(shards, 1)


def _examples(pairs: Iterable[tuple[Problem, Chain]]) -> list[dict[str, str | int]]:
    """Return the examples in stored order, each problem's first chain marked."""
    rows = []
    for problem, chain in pairs:
        if chain.problem_id != problem.id:
            raise UserError(f"chain of {chain.problem_id!r} paired with problem {problem.id!r}")
        rows.append((problem.id, chain.sample, records.to_json(chain), records.to_json(problem)))
    rows.sort()
    examples = []
    for i, (identifier, _, chain, problem) in enumerate(rows):
        first = i == 0 or rows[i - 1][0] != identifier
        examples.append({"id": identifier, "problem": problem, "chain": chain, "first": int(first)})
    return sorted(
        examples, key=lambda e: hashlib.sha256(f"{e['id']}\0{e['chain']}".encode()).digest()
    )


def _write_set(
    directory: pathlib.Path,
    name: str,
    examples: list[dict[str, str | int]],
    sources: Sequence[str | os.PathLike[str]],
) -> None:
    """Write shards, TFDS metadata and the manifest into a new directory."""
    quiet.import_tensorflow()
    import tensorflow as tf
    import tensorflow_datasets as tfds

    directory.mkdir()
    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "problem": tfds.features.Text(),
            "chain": tfds.features.Text(),
            "first": tf.int64,
        }
    )
    shards = shard_count(len(examples))
    bounds = [round(i * len(examples) / shards) for i in range(shards + 1)]
    content = hashlib.sha256()
    size = 0
    for shard in range(shards):
        path = directory / f"{name}-train.tfrecord-{shard:05d}-of-{shards:05d}"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in examples[bounds[shard] : bounds[shard + 1]]:
                record = features.serialize_example(example)
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
    chains = [json.loads(str(e["chain"])) for e in examples]
    records.write_json(
        directory / MANIFEST,
        {
            "name": name,
            "version": VERSION,
            "examples": {"train": len(examples)},
            "problems": sum(int(e["first"]) for e in examples),
            "shards": shards,
            "sha256": content.hexdigest(),
            "styles": sorted({c["style"] for c in chains}),
            "teachers": sorted({c["teacher"] for c in chains}),
            "sources": [_source(pathlib.Path(path)) for path in sources],
            "t5distill": __version__,
        },
    )


def _source(path: pathlib.Path) -> dict[str, str]:
    """Describe a source file by its name and content; its place on this machine is no matter."""
    with open(path, "rb") as f:
        return {"file": path.name, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}


def _replace(new: pathlib.Path, old: pathlib.Path) -> None:
    """Give `new` the name of `old`, which goes."""
    if not old.exists():
        os.replace(new, old)
        return
    # A directory cannot be replaced in one step: the old one steps aside and comes back on failure.
    aside = pathlib.Path(tempfile.mkdtemp(dir=old.parent, prefix=f".{old.name}.old."))
    os.replace(old, aside / old.name)
    try:
        os.replace(new, old)
    except BaseException:
        os.replace(aside / old.name, old)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
