"""Processes that are killed, forked and shared: every program has its verdict, nothing is left."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

from families import below, command_of, supervisors

from t5distill.verify import Limits, Sandbox, run_program


def gone(pids):
    """Wait until processes are gone; a test that waits for ever is one that fails."""
    while any(b"inside/boot.py" in command_of(pid) for pid in pids):
        time.sleep(0.01)
    return True


def program(source):
    return {"kind": "program", "source": source}


def test_a_closed_sandbox_leaves_nothing():
    before = set(supervisors())
    with Sandbox() as sandbox:
        sandbox.run(program("ans = 1"))
        sandbox.run(program("import sympy\nans = sympy.Integer(1)"))
        running = set(supervisors()) - before
        assert len(running) == 4  # a watcher and a server for each of the two
    assert not running & set(supervisors())
    with sandbox:  # it can be used again
        assert sandbox.run(program("ans = 2")).value == "2"


def test_a_supervisor_killed_between_two_programs():
    with Sandbox() as sandbox:
        before = set(supervisors())
        sandbox.run(program("ans = 1"))
        for pid in set(supervisors()) - before:
            os.kill(pid, signal.SIGKILL)
        assert sandbox.run(program("ans = 2")).value == "2"


def killing(sandbox, source, times):
    """Run a program and kill its supervisor so many times while it runs."""
    sandbox.run(program("ans = 1"))
    found = []
    thread = threading.Thread(target=lambda: found.append(sandbox.run(program(source))))
    thread.start()
    killed = set()
    while len(killed) < times:
        (engine,) = list(sandbox._engines.values()) or [None]
        watcher = engine and engine._process.pid
        if watcher and watcher not in killed and len(below(watcher)) == 2:  # one is a program
            time.sleep(0.1)
            os.kill(watcher, signal.SIGKILL)
            killed.add(watcher)
        time.sleep(0.01)
    thread.join()
    return found[0]


def test_a_supervisor_killed_while_a_program_runs_is_started_again():
    with Sandbox(Limits(cpu_s=1)) as sandbox:
        assert killing(sandbox, "while True: pass", 1).status == "timeout"


def test_a_program_whose_supervisor_is_killed_twice_has_a_verdict():
    with Sandbox(Limits(cpu_s=60)) as sandbox:
        outcome = killing(sandbox, "while True: pass", 2)
        assert (outcome.status, "ended twice" in outcome.detail) == ("error", True)
        assert sandbox.run(program("ans = 3")).value == "3"


PARENT = """
import sys
from t5distill.verify import Sandbox, Limits
with Sandbox(Limits(cpu_s=600)) as sandbox:
    sandbox.run({"kind": "program", "source": "ans = 1"})
    print("ready", flush=True)
    sandbox.run({"kind": "program", "source": "while True: pass"})
"""


def started(script):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)


def test_a_killed_parent_takes_everything_with_it():
    parent = started(PARENT)
    assert parent.stdout.readline() == b"ready\n"
    while len(supervisors(parent.pid)) < 3:  # the watcher, the server and the program
        time.sleep(0.01)
    running = supervisors(parent.pid)
    parent.kill()
    parent.communicate()
    assert gone(running)


def test_a_fork_of_the_parent_does_not_keep_supervisors_alive():
    """The fork holds a copy of the pipes; the parent's end is noticed all the same."""
    script = PARENT.replace('print("ready"', 'import os, time\n    if os.fork() == 0:\n'
                            '        os.close(1)\n        time.sleep(600)\n'
                            '    print("ready"')  # fmt: skip
    parent = started(script)
    assert parent.stdout.readline() == b"ready\n"
    while len(supervisors(parent.pid)) < 3:
        time.sleep(0.01)
    running = supervisors(parent.pid)
    (fork,) = [p for p in below(parent.pid) if p not in running]
    parent.kill()
    parent.communicate()
    try:
        assert gone(running)
    finally:
        os.kill(fork, signal.SIGKILL)


def in_a_worker(number):
    return run_program(f"ans = {number} ** 2").value


def test_worker_processes():
    for method in ("spawn", "fork"):
        run_program("ans = 1")  # so that the fork inherits an idle sandbox
        with multiprocessing.get_context(method).Pool(3) as pool:
            assert pool.map(in_a_worker, range(12), 1) == [str(i * i) for i in range(12)]


def test_a_sandbox_that_is_forked_is_started_anew():
    with Sandbox() as sandbox:
        sandbox.run(program("ans = 1"))
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                value = sandbox.run(program("ans = 2")).value
                sandbox.close()
                os.write(writing, json.dumps(value).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        assert json.loads(os.read(reading, 100)) == "2"
        os.close(reading)
        assert sandbox.run(program("ans = 3")).value == "3"


def test_sixteen_threads():
    found = {}

    def use(number):
        found[number] = [run_program(f"ans = {number} * 100 + {i}").value for i in range(5)]

    threads = [threading.Thread(target=use, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [str(100 * n + i) for i in range(5)] for n in range(16)}


def test_threads_share_one_sandbox():
    with Sandbox() as sandbox:
        found = {}

        def use(number):
            found[number] = [sandbox.run(program(f"ans = {number}")).value for _ in range(10)]

        threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {n: [str(n)] * 10 for n in range(4)}


def test_the_thread_that_started_a_sandbox_may_end():
    sandbox = Sandbox()
    thread = threading.Thread(target=lambda: sandbox.run(program("ans = 1")))
    thread.start()
    thread.join()
    (engine,) = sandbox._engines.values()
    assert sandbox.run(program("ans = 2")).value == "2"
    assert sandbox._engines["bare"] is engine
    sandbox.close()
