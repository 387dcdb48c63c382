"""Run the commands that the recipes' headers show, as a reader would type them.

    python scripts/recipe_commands.py runs/recipes
    python scripts/recipe_commands.py runs/recipes/some magister_gsm8k zhu_2024_etd

All of them are run by two processes, each in a folder of its own, part_1 and part_2, and with a log
beside it: much of a tiny run is the work of one core. With names they are run in this process.

A tiny reproduction is run to its end in that folder, and its students are looked at: each must have
lowered its validation loss (on its own texts, its training loss), and the answers in each of its
test files must not all be empty. A command that needs a teacher, official files or public weights
is run with --dry-run, which checks all of it and prints every stage. What needs files of an
environment variable that is not set is listed as skipped, and with it what comes after it; a tiny
reproduction never is. A recipe that fails does not stop the others; all that failed are listed at
the end, with exit code 1.
"""

from __future__ import annotations

import glob
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
import traceback
from typing import Any

RECIPES = pathlib.Path(__file__).parents[1] / "gin/recipes"
# About half of the time; recipes of one paper share students.
_FIRST = ("embedded_", "fu_2023_", "gsm8k_")
_COMMAND = re.compile(r"^#   (t5distill (?:[^\n]*\\\n#)*[^\n]*)$", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n#\s*")


def both(folder: str) -> int:
    """Run all recipes in two processes; return an exit code."""
    names = sorted(path.stem for path in RECIPES.glob("*.gin"))
    parts = (
        [n for n in names if n.startswith(_FIRST)],
        [n for n in names if not n.startswith(_FIRST)],
    )
    processes = []
    work = pathlib.Path(folder)
    work.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts, start=1):
        log = work / f"part_{number}.log"
        print(f"{len(part)} recipes in {work}/part_{number}; what is said: {log}", flush=True)
        argv = [sys.executable, __file__, str(work / f"part_{number}"), *part]
        with open(log, "w") as f:
            processes.append((log, subprocess.Popen(argv, stdout=f, stderr=subprocess.STDOUT)))
    try:
        codes = [process.wait() for _, process in processes]
    finally:
        for _, process in processes:
            process.terminate()
    for (log, _), code in zip(processes, codes, strict=True):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        # All of what went wrong, and the end, which lists what was skipped.
        print("\n".join(lines[-400:] if code else lines[-12:]))
    return max(codes)


def main(folder: str, names: list[str]) -> int:
    """Run the headers' commands in a folder; return an exit code."""
    paths = [RECIPES / f"{name}.gin" for name in names]
    for path in paths:
        if not path.is_file():
            raise SystemExit(f"{path}: no such recipe")
    begin, skipped, failed, ran = time.monotonic(), [], [], 0
    work = pathlib.Path(folder).resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    for path in paths:
        said = commands(path.read_text(encoding="utf-8"))
        try:
            if not any("--tiny" in words for words in said):
                raise Failed("its header shows no tiny run")
            unset: list[str] = []
            for words in said:
                unset += run(path.stem, words, without=unset)
                if unset and "reproduce" not in words:
                    skipped.append(f"{path.stem} (needs {', '.join(unset)}): {' '.join(words)}")
                else:
                    ran += 1
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            failed.append(f"{path.stem}: {error!r}")
            print(f"\n>>> {failed[-1]}", flush=True)
        print(f"\n>>> {path.stem}: {time.monotonic() - begin:.0f} s so far", flush=True)
    for heading, lines in (("skipped", skipped), ("FAILED", failed)):
        for line in lines:
            print(f"{heading}: {line}")
    print(f"{len(paths)} recipes, {ran} commands in {time.monotonic() - begin:.0f} s")
    return int(bool(failed))


class Failed(Exception):
    """What is wrong with a recipe's commands or with what they made."""


def run(name: str, words: list[str], *, without: list[str]) -> list[str]:
    """Run one command; return the environment variables for the want of which it was not run.

    Args:
      name: the recipe's.
      words: of the command.
      without: the variables for the want of which one before it was not run.
    """
    from t5distill.__main__ import main as t5distill

    full = words[1] == "reproduce" and ("--tiny" not in words or "--sizes" in words)
    used = [variable for word in words for variable in re.findall(r"\$(\w+)", word)]
    unset = [variable for variable in used if variable not in os.environ]
    if (unset or without) and words[1] != "reproduce":
        return unset
    typed = [part for word in words[1:] for part in _as_a_shell(word)] + ["--dry-run"] * full
    if code := t5distill(typed):
        raise Failed(f"exit code {code} of: t5distill {' '.join(typed)}")
    if words[1] == "reproduce" and not full:
        check(name, pathlib.Path(words[words.index("--workdir") + 1]))
    return []


def _as_a_shell(word: str) -> list[str]:
    """Return what a shell makes of a word: variables, then names of files."""
    word = os.path.expandvars(word)
    return sorted(glob.glob(word)) or [word]


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
                # On its own texts a student learns what its teacher says of them: the validation
                # loss, of others' texts, may rise in so few steps.
                share = re.search(r"\nON_POLICY_SHARE = (\S+)", card["config"])
                kind = "loss" if share and float(share[1]) else "validation_loss"
                losses = [row[kind] for row in card["training"]["curve"] if kind in row]
                # A student of half a style has no validation of its own; one of a part of the
                # data may learn it by heart in the end.
                if losses and not min(losses) < losses[0]:
                    raise Failed(f"{arm['name']}: {kind} {losses}")
        for results in arm["results"]:
            for benchmark in experiment["tests"]:
                _check_answers(arm, folder / results / benchmark)
    if not (folder / "report.html").is_file():
        raise Failed("no report.html")


def _check_answers(arm: dict[str, Any], folder: pathlib.Path) -> None:
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    texts = [
        json.loads(line)["text"]
        for path in folder.glob("*-test.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    # One answer of several students has no texts of its own; random weights may have none to say.
    silent = arm["combined"] or arm["role"] == "untrained"
    if not scores["n"] or not (silent or any(map(str.strip, texts))):
        raise Failed(f"{folder}: {scores['n']} problems, no answers")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]) if sys.argv[2:] else both(sys.argv[1]))
