"""Many programs at a time, some of them hostile, on a machine that has other things to do."""

import os
import queue
import subprocess
import sys
import threading
import time

import pytest
from families import supervisors

from t5distill.verify import Limits, Sandbox, run_programs

FULL = "namespaces+seccomp"
FORGED = b"value\0forged\0"
HOSTILE = [
    ("while True: pass", "timeout"),
    ("x = []\nwhile True: x.append(' ' * 10 ** 6)", "memory"),
    ("import os\nos.kill(1, 9)", "rejected"),
    ("import os\nos.fork()", "rejected"),
    ("open('/tmp/left-over', 'w')", "rejected"),
    (f"import os\nos.write(3, {FORGED} + {FORGED})\nos._exit(0)", "error"),
    (f"import os\nos.write(3, {FORGED})\nwhile True: pass", "timeout"),
    ("import os\nos._exit(0)", "error"),
    ("import os\nos.close(3)\nwhile True: pass", "error"),
    ("import ctypes\nctypes.string_at(0)", "rejected"),
    ("import socket", "rejected"),
    ("import threading\nl = threading.Lock()\nl.acquire()\nl.acquire()", "timeout"),
]
LIMITS = Limits(cpu_s=0.5, wall_s=6, memory_mb=50)


def crowd(count):
    """Return so many programs, 5 % of them hostile, and the status and value each must have."""
    pairs = []
    for i in range(count):
        if i % 20 == 7:
            source, status = HOSTILE[i // 20 % len(HOSTILE)]
            pairs.append((source, (status, None)))
        else:
            pairs.append((f"x = {i}\nans = x + 1", ("value", str(i + 1))))
    return pairs


def check_crowd(count, workers):
    """Every program has its verdict, nothing is left over; return the longest seconds of one."""
    before = set(supervisors())
    waiting, verdicts, seconds = queue.SimpleQueue(), {}, []
    pairs = crowd(count)
    for number, (source, _) in enumerate(pairs):
        waiting.put((number, source))

    def work():
        with Sandbox(LIMITS) as sandbox:
            sandbox.run({"kind": "program", "source": "ans = 1"})
            while not waiting.empty():
                try:
                    number, source = waiting.get_nowait()
                except queue.Empty:
                    return
                begin = time.monotonic()
                verdicts[number] = sandbox.run({"kind": "program", "source": source})
                seconds.append(time.monotonic() - begin)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(verdicts) == count
    for number, (source, wanted) in enumerate(pairs):
        outcome = verdicts[number]
        got = (outcome.status, outcome.value, outcome.isolation)
        assert got == (*wanted, FULL), (source, outcome)
    assert set(supervisors()) <= before
    assert not os.path.exists("/tmp/left-over")
    return max(seconds)


def test_a_hostile_share():
    """The small stand-in of the soak test."""
    check_crowd(20 * len(HOSTILE), workers=2)


@pytest.mark.soak
def test_ten_thousand_programs_with_a_hostile_share():
    assert check_crowd(10_000, workers=os.cpu_count() or 1) < LIMITS.clock_s + 0.5


# Programs that take a good part of their processor time, and programs that take all of it.
WORK = "n = 0\nfor i in range({}):\n    n += i % 7\nans = n"
BUSY = [
    *(WORK.format(n) for n in (10, 10**5, 10**6, 10**6 + 1)),
    "while True: pass",
    "ans = 1 / 0",
    "x = ' ' * 10 ** 10",
    "import time\ntime.sleep(9)\nans = 1",
]


def verdicts_of(sources, workers):
    limits = Limits(cpu_s=1, memory_mb=50)
    return [(o.status, o.value) for o in run_programs(sources, workers=workers, limits=limits)]


def check_oversubscribed(repeats):
    """The verdicts beside four busy processes for each core are those of programs one by one."""
    alone = verdicts_of(BUSY, 1)
    assert [status for status, _ in alone] == [
        *["value"] * 4,
        "timeout",
        "error",
        "memory",
        "value",
    ]
    cores = os.cpu_count() or 1
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * cores)
    ]
    try:
        assert verdicts_of(BUSY * repeats, cores) == alone * repeats
    finally:
        for process in others:
            process.kill()
            process.wait()


@pytest.mark.soak
def test_the_same_verdicts_at_four_times_as_many_busy_processes_as_cores():
    check_oversubscribed(10)


def test_the_same_verdicts_with_four_workers_for_each_core():
    """The small stand-in of the soak test."""
    cores = os.cpu_count() or 1
    assert verdicts_of(BUSY * 2, 4 * cores) == verdicts_of(BUSY, 1) * 2
