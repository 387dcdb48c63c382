"""A stand-in for the sandbox: the solver in a process of its own with limits, no more."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from t5distill.verify.outcomes import Outcome

_CHILD = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from t5distill.verify.equations import nonlinear
print(json.dumps(nonlinear.solve(json.load(sys.stdin))))
"""


def run_apart(request: dict[str, Any]) -> Outcome:
    """Solve a system in a child process."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=json.dumps(request), capture_output=True, text=True
    )
    if done.returncode < 0:
        return Outcome(status="timeout", detail="out of processor time", isolation="rlimits")
    if done.returncode:
        return Outcome(status="error", detail=done.stderr[-200:], isolation="rlimits")
    return Outcome(isolation="rlimits", **json.loads(done.stdout))
