"""What a program answers: every rule has its cases in tests/golden/programs.jsonl."""

import json
import pathlib

import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.verify import Limits, Outcome, Sandbox, run_program, run_programs

FULL = "namespaces+seccomp"
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "programs.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden(case):
    outcome = run_program(case["source"])
    got = (outcome.status, outcome.value)
    assert got == (case["status"], case.get("value")), outcome
    assert case.get("detail", "") in outcome.detail


def test_what_is_not_run_is_told_at_once():
    for source, status, word in (
        ("ans = 1" + " " * 1_000_000, "rejected", "1000007 characters"),
        ("ans = '\0'", "rejected", "NUL"),
        ("", "none", "empty"),
    ):
        outcome = run_program(source)
        assert (outcome.status, outcome.isolation) == (status, "")
        assert word in outcome.detail


def test_a_long_program_that_may_be_run():
    source = "ans = 0\n" + "ans += 1\n" * 10_000
    assert run_program(source).value == "10000"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("while True: pass", "timeout"),
        ("try:\n    while True: pass\nexcept BaseException: ans = 1", "timeout"),
        ("ans = 9 ** 9 ** 9", "timeout"),
        ("import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()", "timeout"),
        ("x = ' ' * 10 ** 10", "memory"),
        ("x = []\nwhile True: x.append(' ' * 10 ** 6)", "memory"),
        ("x = [0]\nwhile True: x += x", "memory"),
    ],
)
def test_limits(source, status):
    outcome = run_program(source, cpu_s=0.5, wall_s=4, memory_mb=50)
    assert (outcome.status, outcome.value) == (status, None), outcome


def test_a_program_that_lives_with_its_limits_has_its_answer():
    source = "try:\n    x = ' ' * 10 ** 10\nexcept MemoryError:\n    ans = 5"
    assert run_program(source).value == "5"


def test_nothing_passes_from_one_program_to_the_next():
    with Sandbox() as sandbox:
        programs = [
            "import math, builtins\nmath.pi = 3\nbuiltins.sum = None\nx = 5\nans = 1",
            "import random\nrandom.seed(7)\nimport sys\nsys.setrecursionlimit(50)\nans = 2",
            "import math\nans = math.pi",
            "ans = sum([1, 2])",
            "ans = x",
            "import random\nans = random.random()",
            "import random\nans = random.random()",
        ]
        values = [sandbox.run({"kind": "program", "source": p}).value for p in programs]
    assert values[:5] == ["1", "2", "3.141592653589793", "3", None]
    assert values[5] == values[6]


def test_sets_have_one_order_in_every_process():
    source = "ans = ' '.join({'a', 'b', 'c', 'd', 'e', 'f', 'g'})"
    values = set()
    for _ in range(3):
        with Sandbox() as sandbox:
            values.add(sandbox.run({"kind": "program", "source": source}).value)
    assert len(values) == 1


def test_many_programs_in_order():
    sources = (f"ans = {i} * 2" for i in range(100))
    outcomes = list(run_programs(sources, workers=3))
    assert [o.value for o in outcomes] == [str(2 * i) for i in range(100)]


def test_many_programs_are_read_only_a_little_ahead_and_can_be_left():
    read = []

    def sources():
        for i in range(10**6):
            read.append(i)
            yield f"ans = {i}"

    outcomes = run_programs(sources(), workers=2, limits=Limits(cpu_s=1))
    assert next(outcomes).value == "0"
    outcomes.close()
    assert len(read) < 50


def test_outcomes_name_their_isolation():
    assert isinstance(run_program("ans = 1"), Outcome)
    assert run_program("ans = 1").isolation == "namespaces+seccomp"


def test_mistakes_of_the_caller():
    with Sandbox() as sandbox, pytest.raises(UserError, match="did you mean program"):
        sandbox.run({"kind": "programm", "source": "ans = 1"})
    with pytest.raises(UserError, match="wanted str"):
        run_program(b"ans = 1")
    with pytest.raises(ValueError, match="above zero"):
        run_program("ans = 1", cpu_s=0)


@pytest.mark.parametrize(
    ("source", "value", "sizes"),
    [
        ("ans = 1", "1", ["bare"]),
        ("import math\nfrom math import sqrt\nans = math.floor(sqrt(9))", "3", ["bare"]),
        ("def solution():\n    return {'only': 4.5}", "4.5", ["bare"]),
        ("from decimal import Decimal\nans = Decimal('3.30')", "3.30", ["arithmetic"]),
        ("```python\nans = 5\n```", "5", ["arithmetic"]),
        ("ans = __import__('deci' + 'mal').Decimal(7)", "7", ["arithmetic"]),
        ("try:\n    import numpy\nexcept ImportError:\n    ans = 6", "6", ["arithmetic"]),
        ("import sympy\nans = sympy.Rational(1, 3)", "1/3", ["algebra"]),
        # What cannot be seen in the text: `inspect` looks at what is no plain function.
        ("class C:\n    def answer(self): return 12\nsolution = C().answer", "12",
         ["bare", "arithmetic"]),
    ],
)  # fmt: skip
def test_a_program_runs_where_there_is_what_it_imports(source, value, sizes):
    with Sandbox() as sandbox:
        outcome = sandbox.run({"kind": "program", "source": source})
        assert (outcome.value, list(sandbox._engines)) == (value, sizes), outcome


def test_a_program_that_is_run_once_more_has_all_its_time_again():
    source = (
        "total = 0\nfor i in range(4_000_000): total += i\n"
        "class C:\n    def answer(self): return 12\nsolution = C().answer"
    )
    with Sandbox() as sandbox:
        sandbox.run({"kind": "program", "source": source})
        needed = sandbox.run({"kind": "program", "source": source})
        assert (needed.value, list(sandbox._engines)) == ("12", ["bare", "arithmetic"])


@pytest.mark.parametrize("modules", ["os", "os, decimal", "os, sympy"])
def test_a_program_that_only_says_that_it_needs_more(modules):
    outcome = run_program(f"import {modules}\nos._exit(73)")
    assert (outcome.status, outcome.value, outcome.isolation) == ("error", None, FULL)
    assert outcome.detail == "ended itself without an answer, exit code 73"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("import signal, zlib\nans = zlib.crc32(b'abc')", "891568578"),
        ("from pathlib import PurePath\nans = str(PurePath('a') / 'b')", "a/b"),
        ("import urllib.parse\nans = urllib.parse.quote('a b')", "a%20b"),
        ("import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), line_buffering=True)\n"
         "print(19)", "19"),
        ("class S(str):\n    def strip(self): return self\n"
         "    def replace(self, *_): raise TypeError\nans = S('5')", "5"),
        ("ans = 'a\\0b'", "a\ufffdb"),
    ],
)  # fmt: skip
def test_what_an_attacker_found(source, value):
    outcome = run_program(source)
    assert (outcome.status, outcome.value) == ("value", value), outcome


class Text(str):
    pass


class Number(float):
    pass


@pytest.mark.parametrize("source", [np.str_("ans = 1"), Text("ans = 1")])
@pytest.mark.parametrize("cpu_s", [np.float64(5), Number(5)])
def test_what_only_looks_like_a_text_or_a_number(source, cpu_s):
    assert run_program(source, cpu_s=cpu_s).value == "1"


def test_a_job_that_cannot_be_sent_harms_no_supervisor():
    with Sandbox() as sandbox:
        sandbox.run({"kind": "program", "source": "ans = 1"})
        engine = sandbox._engines["bare"]
        with pytest.raises(TypeError):
            sandbox.run({"kind": "program", "source": "ans = 1", "more": object()})
        assert sandbox.run({"kind": "program", "source": "ans = 2"}).value == "2"
        assert sandbox._engines["bare"] is engine


def test_nothing_is_left_of_the_program_before():
    looking = (
        "import gc, sys\nframe, found = sys._getframe(), []\n"
        "while frame:\n    found.append(repr(list(frame.f_locals.values())))\n"
        "    frame = frame.f_back\nfound = ''.join(found)\n"
        "ans = 'pla' + 'nted' in found or 'nted-' + 'secret' in found"
    )
    with Sandbox() as sandbox:
        sandbox.run({"kind": "program", "source": "import sys\nans = 'pla' + 'nted-secret'"})
        assert sandbox.run({"kind": "program", "source": looking}).value == "False"
