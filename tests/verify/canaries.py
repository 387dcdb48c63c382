"""Things that a hostile program would touch, and a way to see whether it did."""

import os
import pathlib
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid

LIMIT_MB = 100  # of the sandbox; the attacks on memory want MORE_MB
MORE_MB = 300
HARNESS = """
import json, sys
gold = '@GOLD@'
def judge(answer):
    return str(answer) == gold
names = {}
exec(sys.stdin.read(), names)
outcome = 'correct' if judge(names.get('ans')) else 'wrong'
print(json.dumps({'outcome': outcome}))
"""


class Arena:
    """A folder, a listener and a process, all canaries; `touched` tells which ones were."""

    def __init__(self, folder):
        self.folder = folder
        self.secret = f"secret-{uuid.uuid4().hex}"
        self.gold = str(uuid.uuid4().int)
        (folder / "secret").write_text(self.secret)
        (folder / self.secret).touch()
        (folder / "canary").write_text("alive")
        os.utime(folder / "canary", (1e9, 1e9))
        self.before = self._listing()
        self.tcp, self.udp = self._listen()
        self.victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                                       start_new_session=True)  # fmt: skip
        self.victim_before = self._victim()

    def _listen(self):
        while True:
            tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
            tcp.bind(("127.0.0.1", 0))
            tcp.listen()
            try:
                udp.bind(tcp.getsockname())
            except OSError:  # somebody has this one
                tcp.close()
                udp.close()
                continue
            return tcp, udp

    def source(self, attack):
        for name, value in (
            ("SECRET_FILE", self.folder / "secret"),
            ("CANARY", self.folder / "canary"),
            ("DIR", self.folder),
            ("PORT", self.tcp.getsockname()[1]),
            ("VICTIM", self.victim.pid),
            ("MB", MORE_MB),
        ):
            attack = attack.replace(f"@{name}@", str(value))
        return attack

    def _listing(self):
        found = {}
        for path in self.folder.rglob("*"):
            info = path.lstat()
            found[path.name] = (info.st_mode, info.st_nlink, info.st_size, info.st_mtime)
        return found

    def _victim(self):
        """Return what signals and settings of the victim would change, None when it has ended."""
        if self.victim.poll() is not None:
            return None
        pid = self.victim.pid
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (
            fields[0] in "Tt",
            os.getpriority(os.PRIO_PROCESS, pid),
            os.sched_getaffinity(pid),
            os.sched_getscheduler(pid),
            resource.prlimit(pid, resource.RLIMIT_NOFILE),
        )

    def touched(self, text=""):
        """Return the canaries that were touched; `text` is all that the program could say."""
        names = []
        if self.secret in text:
            names.append("secret")
        if self.gold in text or '"correct"' in text:
            names.append("score")
        if not self.folder.exists() or self._listing() != self.before:
            names.append("files")
        if select.select([self.tcp, self.udp], [], [], 0)[0]:
            names.append("listener")
        if self._victim() != self.victim_before:
            names.append("victim")
        return names

    def close(self):
        self.tcp.close()
        self.udp.close()
        if self.victim.poll() is None:
            self.victim.send_signal(signal.SIGCONT)
            self.victim.kill()
        self.victim.communicate()
        if self.folder.exists() and (self.folder / "canary").exists():
            (self.folder / "canary").chmod(stat.S_IRUSR | stat.S_IWUSR)


def control(arena, attack):
    """Run an attack outside of the sandbox, in a process of its own, and return what it touched."""
    source = arena.source(attack["source"])
    command = [sys.executable, "-c", source]
    if attack["family"] == "forging":
        harness = arena.folder.parent / "harness.py"
        harness.write_text(HARNESS.replace("@GOLD@", arena.gold))
        command = [sys.executable, str(harness)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=arena.folder.parent,
        env={**os.environ, "CANARY_SECRET": arena.secret},
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    stuck = False
    try:
        told, _ = process.communicate(
            source.encode(), timeout=1 if attack["family"] == "time" else 60
        )
    except subprocess.TimeoutExpired:
        stuck = True
        os.killpg(process.pid, signal.SIGKILL)
        told, _ = process.communicate()
    text = told.decode("utf-8", "replace")
    names = arena.touched(text[: 1 << 20])
    patience = time.monotonic() + 10
    while not names and not stuck and time.monotonic() < patience:
        time.sleep(0.05)  # a signal that was sent may still be under way
        names = arena.touched(text[: 1 << 20])
    return [*names, "clock"] if stuck else names


PEAK = """
import resource, subprocess, sys
subprocess.run([sys.executable, '-c', sys.stdin.read()], stdout=subprocess.DEVNULL,
               stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def peak_mb(source):
    """Return the most memory that a program takes outside of the sandbox."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK], input=source, capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )  # fmt: skip
    return int(done.stdout)
