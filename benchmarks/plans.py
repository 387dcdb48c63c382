"""The table of docs/plan.md: what each model needs, per mesh and chip, found by `t5distill plan`.

    python -m benchmarks.plans --workdir runs/plans

Each row is a plan of its own; what is there already is not made again. With libtpu on the path TPUs
are exact. The table is printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

from benchmarks import reporting
from t5distill.plan.chips import GIB


class Row(NamedTuple):
    """One plan: 512 + 512 tokens in bfloat16."""

    model: str
    chip: str
    mesh: str
    batch: int
    remat: str = "none"
    microbatches: int = 1

    @property
    def name(self) -> str:
        """A file name."""
        return "-".join(map(str, self))


ROWS = (
    Row("t5_1_1_small", "v5e", "1x1", 32),
    Row("t5_1_1_base", "v5e", "8x1", 64),
    Row("t5_1_1_base", "v5e", "8x1", 128, "full"),
    Row("t5_1_1_large", "v5e", "8x1", 64, "full"),
    Row("t5_1_1_large", "v6e", "8x1", 64),
    Row("t5_1_1_xl", "v5e", "4x4", 64, "full", 2),
    Row("t5_1_1_xl", "v6e", "4x2", 64, "full", 2),
    Row("t5_1_1_xl", "v4", "4x2", 64, "full", 2),
    Row("t5_1_1_xxl", "v5e", "2x16", 32, "full", 4),
    Row("t5_1_1_xxl", "v5p", "2x4", 32, "full", 4),
    Row("t5_1_1_base", "l4", "1x1", 16, "full"),
    Row("t5_1_1_base", "h100", "1x1", 64, "full"),
    Row("t5_1_1_large", "h100", "8x1", 64, "full"),
)


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; print the table; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where plans are kept")
    parser.add_argument("--only", metavar="WORD", help="rows with it in their name")
    parser.add_argument("--out", metavar="FILE", help="write the figures as JSON too")
    return 2 if reporting.measured(run, parser.parse_args(arguments)) is None else 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make every plan and print them."""
    folder = pathlib.Path(args.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in ROWS if not args.only or args.only in row.name]
    made = {row: p for row in rows if (p := _plan(row, folder / f"{row.name}.json"))}
    print("\n" + "\n".join(_table(made)))
    return {row.name: figures for row, figures in made.items()}


def _plan(row: Row, path: pathlib.Path) -> dict[str, Any] | None:
    """Return the figures of a row, None where the compiler itself breaks."""
    if not path.is_file():
        command = [
            *(sys.executable, "-m", "t5distill", "plan", "--model", row.model),
            *("--mesh", row.mesh, "--batch", str(row.batch), "--lengths", "512,512"),
            *("--chip", row.chip, "--gin.DTYPE='bfloat16'", f"--gin.REMAT='{row.remat}'"),
            *(f"--gin.MICROBATCHES={row.microbatches}", "--out", str(path)),
        ]
        # 1 says that a step does not fit, which is a figure too.
        code = subprocess.run(command, check=False).returncode
        if code < 0:
            print(f"{row.name}: the compiler broke with signal {-code}; no row for it")
            return None
        if code not in (0, 1):
            raise SystemExit(f"`{' '.join(command)}` failed")
    return json.loads(path.read_text())


def _table(made: dict[Row, dict[str, Any]]) -> list[str]:
    lines = [
        "| model | chip | mesh | batch | remat, parts | training | decoding | update, about |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, figures in made.items():
        training, decoding = figures["steps"]
        about = "" if figures["memory_is_exact"] else "about "
        lines.append(
            f"| {row.model} | {row.chip} | {row.mesh} | {row.batch} | {row.remat}, "
            f"{row.microbatches} | {about}{_memory(training)} | {about}{_memory(decoding)} | "
            f"{_seconds(training)} |"
        )
    return lines


def _memory(step: dict[str, Any]) -> str:
    if step["memory_bytes"] is None:
        return "more than is there"
    size = f"{step['memory_bytes'] / GIB:.1f} GiB"
    return {True: size, None: f"{size}: perhaps less", False: f"{size}: no"}[step["fits"]]


def _seconds(step: dict[str, Any]) -> str:
    return f"{1000 * step['estimate']['overlapped']:.0f} ms" if step["fits"] is not False else ""


if __name__ == "__main__":
    sys.exit(main())
