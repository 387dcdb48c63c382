"""Benign programs do in the sandbox what they do in plain CPython: print and answer the same."""

import itertools
import json
import pathlib
import random
import subprocess
import sys

import pytest

from t5distill.verify import run_programs

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
COUNT = 200
PARTS = json.loads((GOLDEN / "benign_programs.json").read_text(encoding="utf-8"))


def generated(count):
    """Return so many programs: every way to work, with all ways to have values and to answer."""
    rng = random.Random(5)
    ways = itertools.cycle(PARTS["work"])
    programs = []
    for i, work in zip(range(count), ways, strict=False):
        parts = [PARTS["values"][i % 6], "import functools", work, PARTS["answer"][i % 5]]
        source = "\n".join(parts)
        x, y, z = (rng.randint(1, 40) for _ in range(3))
        programs.append(source.format(x=x, y=y, z=z))
    return programs


def in_plain_python(source):
    """Return what a program prints last in plain CPython, or the name of its exception."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1].split(":")[0], None
    return "value", done.stdout.strip().splitlines()[-1]


def test_programs_answer_what_plain_python_prints():
    programs = generated(COUNT)
    assert len(set(programs)) == COUNT >= 200
    statuses = set()
    for source, outcome in zip(programs, run_programs(programs), strict=True):
        status, value = in_plain_python(source)
        statuses.add(status)
        if status == "value":
            assert (outcome.status, outcome.value) == ("value", value), source
        else:
            assert outcome.status == "error" and outcome.detail.startswith(status), source
    assert {"value", "NameError", "IndexError"} <= statuses


ALGEBRA = ["from sympy import *\nx, y = symbols('x y')\n" + line for line in PARTS["algebra"]]


@pytest.mark.parametrize("source", ALGEBRA, ids=lambda s: s.rpartition("print")[2])
def test_sympy_answers_what_it_prints_in_plain_python(source):
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    (outcome,) = run_programs([source], workers=1)
    assert outcome.value == done.stdout.strip(), outcome
