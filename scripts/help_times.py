"""Print how long `t5distill --help` and every sub-command's take: the best of five, in seconds."""

import subprocess
import sys
import time

from t5distill.__main__ import COMMANDS


def best_of_five(*arguments: str) -> float:
    """Return the shortest of five runs, in seconds."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        command = [sys.executable, "-m", "t5distill", *arguments, "--help"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return min(times)


for arguments in ((), *((name,) for name in COMMANDS)):
    seconds = best_of_five(*arguments)
    print(f"{' '.join(('t5distill', *arguments, '--help')):<32}{seconds:6.3f} s", flush=True)
