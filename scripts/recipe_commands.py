"""Run the commands that the recipes' headers show, as a reader would type them.

    python scripts/recipe_commands.py runs/recipes
    python scripts/recipe_commands.py runs/recipes magister_gsm8k zhu_2024_etd

A tiny reproduction is run to its end in that folder, and its students are looked at: each must have
lowered its validation loss and answered every problem with some text. A command that needs a
teacher, official files or public weights is run with --dry-run, which checks all of it and prints
every stage. What needs files of an environment variable that is not set is listed as skipped.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any

RECIPES = pathlib.Path(__file__).parents[1] / "gin/recipes"
_COMMAND = re.compile(r"^#   (t5distill (?:[^\n]*\\\n#)*[^\n]*)$", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n#\s*")


def main(folder: str, names: list[str]) -> int:
    """Run the headers' commands in a folder; return an exit code."""
    from t5distill.__main__ import main as t5distill

    paths = [RECIPES / f"{name}.gin" for name in names] or sorted(RECIPES.glob("*.gin"))
    begin, skipped, ran = time.monotonic(), [], 0
    work = pathlib.Path(folder).resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    for path in paths:
        said = commands(path.read_text(encoding="utf-8"))
        if not any("--tiny" in words for words in said):
            raise SystemExit(f"{path}: its header shows no tiny run")
        for words in said:
            unset = [
                v for word in words for v in re.findall(r"\$(\w+)", word) if v not in os.environ
            ]
            full = words[1] == "reproduce" and ("--tiny" not in words or "--sizes" in words)
            if unset and not full:
                skipped.append((path.stem, " ".join(words), unset))
                continue
            typed = [os.path.expandvars(word) for word in words[1:]] + ["--dry-run"] * full
            if t5distill(typed):
                raise SystemExit(f"{path}: failed: t5distill {' '.join(typed)}")
            ran += 1
            if words[1] == "reproduce" and not full:
                check(path.stem, pathlib.Path(words[words.index("--workdir") + 1]))
        print(f"\n>>> {path.stem}: done, {time.monotonic() - begin:.0f} s so far", flush=True)
    for name, command, unset in skipped:
        print(f"skipped (needs {', '.join(unset)}): {name}: {command}")
    print(f"{len(paths)} recipes, {ran} commands in {time.monotonic() - begin:.0f} s")
    return 0


def commands(text: str) -> list[list[str]]:
    """Return the words of every command in a recipe's header."""
    return [shlex.split(_CONTINUED.sub(" ", found)) for found in _COMMAND.findall(text)]


def check(name: str, work: pathlib.Path) -> None:
    """Raise where a student has learnt nothing or answered nothing."""
    folder = work / name
    experiment = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
    for arm in experiment["arms"]:
        for students in arm["students"]:
            for student in students:
                card = json.loads((folder / student / "card.json").read_text(encoding="utf-8"))
                losses = list(_losses(card["training"]["curve"]))
                # A student of half a style has no validation of its own.
                if losses and not losses[-1] < losses[0]:
                    raise SystemExit(f"{name}: {arm['name']}: validation losses {losses}")
        for results in arm["results"]:
            for benchmark in experiment["tests"]:
                _check_answers(name, arm, folder / results / benchmark)
    if not (folder / "report.html").is_file():
        raise SystemExit(f"{name}: no report.html")


def _losses(curve: list[dict[str, Any]]) -> Iterator[float]:
    return (row["validation_loss"] for row in curve if "validation_loss" in row)


def _check_answers(name: str, arm: dict[str, Any], folder: pathlib.Path) -> None:
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    texts = [
        json.loads(line)["text"]
        for path in folder.glob("*-test.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    # One answer of several students has no texts of its own; random weights may have none to say.
    silent = arm["combined"] or arm["role"] == "untrained"
    if not scores["n"] or not (silent or any(map(str.strip, texts))):
        raise SystemExit(f"{name}: {folder}: {scores['n']} problems, no answers")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
