"""Machines that lack something: the level drops, is named, and execution is refused.

They are made, not mocked: a process sets a seccomp filter on itself under which a facility fails as
it does in a container, and only then uses the sandbox. These processes skip nothing and start as
root or not, as the suite does; one is made to be nobody.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

NO_NAMESPACES = """
from t5distill.verify.programs.inside import kernel, seccomp
calls = {"x86_64": {272: 0x50001}, "aarch64": {97: 0x50001}}[kernel.MACHINE]
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
kernel.Filter(seccomp.answering(calls, kernel.MACHINE)).install()
"""
# prctl and seccomp themselves fail, EINVAL as on a kernel without them, but for the other options.
NO_SECCOMP = """
import struct
from t5distill.verify.programs.inside import kernel, seccomp
number = {"x86_64": 157, "aarch64": 167}[kernel.MACHINE]
program = b"".join(struct.pack("=HBBI", *row) for row in (
    (0x20, 0, 0, 0), (0x15, 0, 3, number),
    (0x20, 0, 0, 16), (0x15, 0, 1, 22), (0x06, 0, 0, 0x50016), (0x06, 0, 0, 0x7FFF0000)))
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
kernel.Filter(program).install()
"""
RUN = """
import json
from t5distill.errors import UserError
from t5distill.verify import run_program, run_programs
def told(call):
    try:
        outcome = call()
    except UserError as e:
        return ["refused", str(e)]
    return [outcome.status, outcome.value, outcome.isolation]
print(json.dumps([
    told(lambda: run_program("ans = 6 * 7")),
    told(lambda: next(run_programs(["ans = 6 * 7"]))),
    told(lambda: run_program("ans = 6 * 7", allow_unsafe=True)),
]))
"""


def results(script, *command):
    done = subprocess.run(
        [*command, sys.executable, "-c", script], capture_output=True, text=True, cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(answers, level, why):
    for status, message in answers[:2]:
        assert status == "refused", answers
        for part in (f"found {level}", why, "wanted namespaces+seccomp", "allow_unsafe"):
            assert part in message
    assert answers[2] == ["value", "42", level]


def test_the_full_level():
    for answer in results(RUN):
        assert answer == ["value", "42", "namespaces+seccomp"]


def test_without_namespaces():
    refused(results(NO_NAMESPACES + RUN), "seccomp only", "unshare: Operation not permitted")


def test_without_seccomp():
    refused(results(NO_SECCOMP + RUN), "namespaces only", "seccomp: Invalid argument")


def test_without_either():
    script = NO_NAMESPACES + NO_SECCOMP + RUN
    refused(results(script), "rlimits only", "unshare: Operation not permitted")


@pytest.mark.parametrize("facility", ["namespaces", "seccomp"])
def test_what_the_other_level_still_denies(facility):
    """With one of two, what the program would do is still named, and limits hold."""
    programs = ["open('/etc/passwd')", "import os\nos.fork()", "while True: pass"]
    script = (NO_NAMESPACES if facility == "namespaces" else NO_SECCOMP) + (
        "import json\nfrom t5distill.verify import run_program\n"
        "def status(source):\n    return run_program(source, cpu_s=0.3, allow_unsafe=True).status\n"
        f"print(json.dumps([status(p) for p in {programs}]))"
    )
    assert results(script) == ["rejected", "rejected", "timeout"]


def test_user_namespaces_forbidden_by_a_setting(tmp_path):
    """The setting of a namespace above: no more of them may be made below it."""
    if not shutil.which("unshare") or os.geteuid() != 0:
        pytest.skip("needs root and util-linux to lower user.max_user_namespaces in a namespace")
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]
    shell = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    answers = results(RUN, *command, "sh", "-c", shell, "sh")
    refused(answers, "seccomp only", "No space left on device")


@pytest.mark.parametrize(
    "command",
    [
        ("unshare", "--user", "--map-user=1000", "--map-group=1000"),
        # Nobody, who may read what only root may: the interpreter can lie in root's home.
        ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_started_by_somebody_else_than_root(command):
    if os.geteuid() != 0 or not shutil.which(command[0]):
        pytest.skip(f"needs root and {command[0]} to become somebody else")
    script = "import os\nassert os.geteuid() in (1000, 65534)\n"
    for answer in results(script + RUN, *command):
        assert answer == ["value", "42", "namespaces+seccomp"]


COMMANDS = """
import contextlib, io, json, os, sys
from t5distill.__main__ import main
from t5distill.records import Prediction, Problem, write_jsonl
folder = sys.argv[1]
problem = Problem(id="p", question="?", answer="42", kind="numeric", benchmark="b", split="test")
write_jsonl(f"{folder}/problems.jsonl", [problem])
made = Prediction(problem_id="p", text="ans = 6 * 7", style="program")
write_jsonl(f"{folder}/made.jsonl", [made])
score = ["score", "--problems", f"{folder}/problems.jsonl", "--predictions",
         f"{folder}/made.jsonl", "--out", f"{folder}/out"]
said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    codes = []
    for word in ("0", "false", "perhaps", ""):
        os.environ["T5DISTILL_ALLOW_UNSAFE"] = word
        codes.append(main(score))
    codes.append(main([*score, "--allow-unsafe"]))
print(json.dumps([codes, said.getvalue()]))
"""


def test_scoring_is_refused_until_the_risk_is_accepted(tmp_path):
    script = NO_NAMESPACES + COMMANDS.replace("sys.argv[1]", repr(str(tmp_path)))
    codes, said = results(script)
    assert codes == [2, 2, 2, 2, 0]
    assert "T5DISTILL_ALLOW_UNSAFE is 'perhaps'; wanted 1" in said
    assert said.count("found seccomp only") == 3 and "--allow-unsafe" in said
    assert "texts were executed behind seccomp only" in said
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert (scores["accuracy"], scores["isolation"]) == (1.0, ["seccomp only"])
