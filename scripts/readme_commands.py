"""Run the commands that a Markdown file shows, in order, as a reader would type them.

    python scripts/readme_commands.py README.md

Every block fenced with ```sh runs in one bash, with -e, in the current folder; a block that names
an environment variable that is not set (such as "$GSM8K") is listed as skipped, because it needs
files that only the reader can fetch. Output passes through. The exit code is that of the first
failure.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\"\$([A-Z][A-Z0-9_]+)")
# The test suite and the checks are CI's own steps.
ELSEWHERE = re.compile(r"make (test|check)\b")


def main(path: str) -> int:
    """Run the blocks of one file; return an exit code."""
    blocks = BLOCK.findall(pathlib.Path(path).read_text(encoding="utf-8"))
    ran, skipped = 0, 0
    for block in blocks:
        unset = [v for v in VARIABLE.findall(block) if not os.environ.get(v)]
        if unset or ELSEWHERE.search(block):
            reason = f"needs {', '.join(unset)}" if unset else "runs as its own step"
            print(f"\n--- skipped ({reason}):\n{block}", flush=True)
            skipped += 1
            continue
        print(f"\n--- {path}:\n{block}", flush=True)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], check=False)
        if done.returncode:
            print(f"--- failed with code {done.returncode}:\n{block}", file=sys.stderr)
            return done.returncode
        ran += 1
    print(f"\n{path}: {ran} blocks ran, {skipped} skipped")
    return 0 if ran else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
