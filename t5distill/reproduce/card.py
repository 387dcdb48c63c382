"""The run card: one JSON file that says how a student came to be and what was asked of it."""

from __future__ import annotations

import functools
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from t5distill import verify
from t5distill.curate.tfds_writer import MANIFEST, VERSION
from t5distill.records import file_sha256, write_json
from t5distill.report.folders import read_metrics, read_object

NAME = "card.json"
_CURVE = ("loss", "learning_rate", "validation_loss", "validation_accuracy")


def write(
    folder: pathlib.Path,
    *,
    arms: Sequence[str],
    styles: Sequence[str],
    seed: int,
    recipe: str,
    sets: Sequence[str],
    benchmark: str,
    data: pathlib.Path,
    spend: Mapping[str, Any] | None,
) -> None:
    """Write FOLDER/card.json from what the stages left behind.

    Args:
      folder: the student's, with its results below.
      arms: the rows that are its.
      styles: what it was taught.
      seed: of its training.
      recipe: the recipe's name.
      sets: the chain sets that it learnt.
      benchmark: whose problems it learnt from.
      data: the data directory.
      spend: what the teacher's replies cost, as `spent` returns.
    """
    record = _json(folder / "run.json")
    rows = read_metrics(folder / "metrics.jsonl")
    before = _json(folder / NAME)
    card = {
        "recipe": recipe,
        "arms": list(arms),
        "style": list(styles),
        "seed": seed,
        **{k: record.get(k) for k in ("commit", "command", "versions", "processes")},
        **{k: record.get(k) for k in ("started", "ended", "peak_memory_mib", "parameters")},
        "hardware": {**record.get("devices", {}), "host": record.get("host")},
        "config": (folder / "config.gin").read_text(encoding="utf-8"),
        "sets": [_set(data, name) for name in sets],
        "mixture": record.get("examples"),
        "training": training(rows),
        "spend": spend,
        "splits": _splits(data, benchmark),
        "selection": before.get("selection") or _selection(folder, rows),
        "tests": _tests(folder, data, before.get("tests", [])),
        "extractor": verify.VERSION,
    }
    levels = {level for test in card["tests"] for level in test.pop("isolation", ())}
    levels |= {level for each in card["sets"] if (level := each.pop("isolation"))}
    write_json(folder / NAME, {**card, "isolation": sorted(levels)})


def training_of(folder: pathlib.Path) -> dict[str, Any]:
    """Return what a student's training cost, from its metrics: steps, target tokens, seconds."""
    found = training(read_metrics(folder / "metrics.jsonl"))
    return {name: found[name] for name in ("steps", "target_tokens", "seconds")}


def training(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a training cost and how it went, from the lines of metrics.jsonl."""
    step, tokens, seconds = 0, 0.0, 0.0
    curve: dict[int, dict[str, Any]] = {}
    for row in rows:
        if "steps_per_second" in row and row["step"] > step:
            took = (row["step"] - step) / row["steps_per_second"]
            step, seconds = row["step"], seconds + took
            tokens += took * row["tokens_per_second"]
        point = {name: row[name] for name in _CURVE if name in row}
        curve.setdefault(row["step"], {"step": row["step"]}).update(point)
    return {
        "steps": step,
        "target_tokens": round(tokens),
        "seconds": round(seconds, 1),
        "curve": [curve[step] for step in sorted(curve)],
    }


def _selection(folder: pathlib.Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return which checkpoint is the student, and what decided."""
    names = {"validation_accuracy": "accuracy", "validation_loss": "loss"}
    candidates = [
        {"step": row["step"], **{short: row[name] for name, short in names.items() if name in row}}
        for row in rows
        if any(name in row for name in names)
    ]
    if not candidates:
        return {"by": "the last checkpoint", "candidates": [], "step": None}
    by = "validation_accuracy" if "accuracy" in candidates[-1] else "validation_loss"
    return {
        "by": by,
        "split": "validation",
        "candidates": candidates,
        "step": _json(folder / "best.json").get("step"),
        "selected": _written(folder / "best.json"),
    }


def _tests(
    folder: pathlib.Path, data: pathlib.Path, before: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return every test split that was read, and when first."""
    first_read = {test["scores"]: test["read"] for test in before}
    found = []
    for path in sorted(folder.rglob("scores.json")):
        scores, where = _json(path), str(path.relative_to(folder))
        benchmark = path.parent.name
        found.append(
            {
                "benchmark": benchmark,
                "split": "test",
                "sha256": _sha256(data / benchmark / "test.jsonl"),
                "scores": where,
                "read": first_read.get(where, _written(path)),
                **{k: scores[k] for k in ("n", "accuracy", "low", "high")},
                "isolation": scores.get("isolation", []),
            }
        )
    return found


def _set(data: pathlib.Path, name: str) -> dict[str, Any]:
    """Return what curation says of a set."""
    curation = _json(data / "chains" / name / "curation.json")
    manifest = _json(data / "tfds" / name / VERSION / MANIFEST)
    return {
        "name": name,
        "sha256": manifest.get("sha256"),
        "examples": manifest.get("examples", {}).get("train"),
        "in": curation.get("in"),
        "kept": curation.get("kept"),
        "keep_rate": curation.get("keep_rate"),
        "reasons": curation.get("rejected"),
        "verdicts": curation.get("verdicts"),
        "rules": curation.get("rules"),
        "isolation": curation.get("isolation"),
    }


def _splits(data: pathlib.Path, benchmark: str) -> list[dict[str, Any]]:
    """Return the splits of the problems that were learnt from and selected on."""
    return [
        {"benchmark": benchmark, "split": path.stem, "n": _lines(path), "sha256": _sha256(path)}
        for path in sorted((data / benchmark).glob("*.jsonl"))
        if path.stem in ("train", "validation", "test")
    ]


def spent(ledger: pathlib.Path) -> dict[str, Any] | None:
    """Return what everything in a ledger cost; None without one."""
    from t5distill.teacher import accounts

    if not ledger.is_file():
        return None
    overview = accounts.overview(ledger)
    cost = overview["cost"]
    return {
        "requests": sum(overview["attempts"].values()),
        "tokens": cost.tokens,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "money": cost.money,
    }


def _lines(path: pathlib.Path) -> int:
    with open(path, "rb") as f:
        return sum(1 for line in f if line.strip())


def _sha256(path: pathlib.Path) -> str:
    """Return a file's hash, computed once for all the students that read it."""
    stat = path.stat()
    return _hashed(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache
def _hashed(path: pathlib.Path, size: int, changed: int) -> str:
    del size, changed
    return file_sha256(path)


def _json(path: pathlib.Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _written(path: pathlib.Path) -> str | None:
    """Return when a file was written."""
    if not path.is_file():
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(path.stat().st_mtime))
