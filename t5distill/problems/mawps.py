"""AddSub, MultiArith, SingleEq and SingleOp, the sets that MAWPS (Koncel-Kedziorski 2016) gathers.

Two forms are read: JSON Lines of `input` and `target` (reasoning-machines/pal), and the older
lists of `sQuestion` and `lSolutions`, whose solutions are numbers or texts of numbers. There are
no official splits; papers cross-validate. `mawps` is the union of the four.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from t5distill.problems import source
from t5distill.records import Problem

SUBSETS = ("addsub", "multiarith", "singleeq", "singleop")


def read(
    path: pathlib.Path, split: str, *, subset: str, benchmark: str | None = None
) -> Iterator[Problem]:
    """Yield the problems of one subset, ids counted from 0.

    Args:
      path: the file, in either form.
      split: the split to write into the problems.
      subset: one of `SUBSETS`.
      benchmark: `mawps` where the subset is read as a part of the union; default: the subset.
    """
    array = source.looks_like_array(path)
    prefix = subset if benchmark is None else f"{benchmark}-{subset}"
    rows = source.json_array(path) if array else source.json_lines(path)
    for index, row in enumerate(rows):
        yield Problem(
            id=f"{prefix}-{index}",
            question=row.text("sQuestion" if array else "input").strip(),
            answer=_solution(row) if array else row.number("target"),
            kind="numeric",
            benchmark=benchmark or subset,
            split=split,
            meta={"subset": subset, **_equations(row)},
        )


def _equations(row: source.Row) -> dict[str, list[str]]:
    """Return the older form's equations, where it has them."""
    return {"equations": row.texts("lEquations")} if "lEquations" in row.fields else {}


def _solution(row: source.Row) -> str:
    """Return the only entry of `lSolutions`."""
    solutions = row.get("lSolutions")
    if not isinstance(solutions, list) or len(solutions) != 1:
        raise row.error(f"lSolutions is {solutions!r}, wanted a list of one number")
    try:
        return source.decimal_text(solutions[0])
    except ValueError as e:
        raise row.error(f"lSolutions is {solutions!r}, wanted a list of one number") from e
