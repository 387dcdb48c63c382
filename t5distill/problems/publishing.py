"""Write the splits of benchmarks so that a reader sees either the old set or the new one."""

from __future__ import annotations

import json
import pathlib
import shutil
import tempfile
from typing import Any

from t5distill import __version__, places, records
from t5distill.errors import UserError
from t5distill.problems import source
from t5distill.problems.benchmarks import Splits

MANIFEST = "prepare.json"

_OURS = {f"{split}.jsonl" for split in records.SPLITS} | {MANIFEST}


def publish(out: pathlib.Path, made: dict[str, Splits], notes: dict[str, dict[str, Any]]) -> None:
    """Write OUT/BENCHMARK/{train,validation,test}.jsonl and prepare.json for every benchmark.

    All of it is written beside its place first, then every folder is exchanged as a whole. Files
    of the user's own in an existing folder move over into the new one. In a bucket the manifest
    comes last.

    Args:
      out: the folder of all prepared data.
      made: problems by benchmark and split.
      notes: what else goes into each benchmark's manifest.

    Raises:
      UserError: the place cannot be written; what stood there is untouched.
    """
    remote = places.is_remote(out)
    try:
        if not remote:
            out.mkdir(parents=True, exist_ok=True)
        beside = None if remote else out
        with tempfile.TemporaryDirectory(dir=beside, prefix=".prepare.") as staging:
            for name, splits in made.items():
                _write(pathlib.Path(staging, name), name, splits, notes[name])
            for name in made:
                new = pathlib.Path(staging, name)
                if remote:
                    places.upload(new, out / name, last=MANIFEST)
                else:
                    _exchange(new, out / name)
    except OSError as e:
        raise UserError(f"{out}: cannot write there: {e}") from e


def _write(folder: pathlib.Path, name: str, splits: Splits, notes: dict[str, Any]) -> None:
    """Write one benchmark's files into a new folder."""
    folder.mkdir(parents=True)
    written: dict[str, dict[str, Any]] = {}
    for split, problems in splits.items():
        path = folder / f"{split}.jsonl"
        records.write_jsonl(path, problems)
        written[split] = {"count": len(problems), "sha256": source.sha256(path)}
    manifest = {"benchmark": name, "t5distill": __version__, **notes, "splits": written}
    records.write_json(folder / MANIFEST, manifest)


def _exchange(new: pathlib.Path, place: pathlib.Path) -> None:
    """Put the folder `new` at `place`; where that fails, what stood there stays."""
    if not place.exists():
        new.rename(place)
        return
    if not place.is_dir():
        raise UserError(f"{place}: found a file, wanted a folder; move it away")
    # Outside the staging folder, so that no cleaning up can take the user's own files with it.
    old = pathlib.Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.old."))
    try:
        place.rename(old)
        try:
            new.rename(place)
        except BaseException:
            old.rename(place)
            raise
        for entry in list(old.iterdir()):
            if entry.name not in _OURS:
                entry.rename(place / entry.name)
    finally:
        if place.is_dir() and {entry.name for entry in _entries(old)} <= _OURS:
            shutil.rmtree(old, ignore_errors=True)


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Return a prepared benchmark's manifest.

    Raises:
      UserError: there is none.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{path}: no such file; `t5distill prepare {folder.name}` writes it")
    return json.loads(path.read_text(encoding="utf-8"))
