"""What the page's browser of predictions reads: columns of all of them, each problem stored once.

The columns travel as JSON, compressed, in base64: nothing in them can end the element that they
stand in, and a page that is only looked at never unpacks them.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
from collections.abc import Iterator, Sequence
from typing import Any

from t5distill.records import OUTCOMES, Chain, Prediction, Problem, Verdict
from t5distill.report.equations import equations
from t5distill.report.runs import Results, Run

# More than so many make a page that a phone will not hold.
CAP = 60_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Browser:
    """The data of a browser of predictions.

    Attributes:
      columns: what is shown.
      total: how many predictions there are.
      left_out: how many of them are not shown.
    """

    columns: dict[str, Any]
    total: int
    left_out: int

    def encoded(self) -> str:
        """Return the columns as text that is safe in any element."""
        # Half a surrogate pair is no UTF-8, but JSON can say it.
        written = json.dumps(self.columns, ensure_ascii=True, separators=(",", ":"))
        return base64.b64encode(gzip.compress(written.encode(), mtime=0)).decode()


@dataclasses.dataclass(frozen=True)
class _Row:
    run: Run
    tested: Results
    verdict: Verdict
    place: int  # of its problem


def browser(runs: Sequence[Run], *, cap: int = CAP) -> Browser:
    """Gather the predictions of all runs; of more than `cap` the first samples come first."""
    rows = [row for run in runs for row in _rows(run)]
    kept = rows
    if len(rows) > cap:
        order = sorted(
            range(len(rows)), key=lambda i: (rows[i].verdict.sample or 0, rows[i].place, i)
        )
        kept = [rows[i] for i in sorted(order[:cap])]
    columns = _Columns(runs)
    for row in kept:
        columns.add(row)
    return Browser(columns=columns.content(), total=len(rows), left_out=len(rows) - len(kept))


def _rows(run: Run) -> Iterator[_Row]:
    for tested in run.tested:
        places: dict[str, int] = {}
        for verdict in tested.verdicts:
            place = places.setdefault(str(verdict.problem_id), len(places))
            yield _Row(run, tested, verdict, place)


class _Names:
    """Numbers names in the order in which they come."""

    def __init__(self):
        self.known: dict[Any, int] = {}

    def number(self, name: Any) -> int:
        return self.known.setdefault(name, len(self.known))


class _Columns:
    """Collects rows as columns, so that equal names are stored once."""

    FIELDS = ("run", "arm", "seed", "sample", "problem", "style", "outcome", "finished", "text",
              "answer", "extraction", "detail", "marks")  # fmt: skip

    def __init__(self, runs: Sequence[Run]):
        self.runs = _Names()
        self.arms = _Names()
        self.styles = _Names()
        self.benchmarks = _Names()
        self.extractions = _Names()
        self.labels = {(run.name, arm.name): arm.label for run in runs for arm in run.arms}
        self.problems: dict[tuple[str, str, str], int] = {}
        self.stored: list[list[Any]] = []
        self.rows: dict[str, list[Any]] = {field: [] for field in self.FIELDS}

    def add(self, row: _Row) -> None:
        """Add one prediction with its verdict."""
        verdict, tested = row.verdict, row.tested
        problem_id, sample = str(verdict.problem_id), verdict.sample or 0
        prediction = tested.predictions.get((problem_id, sample))
        values = {
            "run": self.runs.number(row.run.name),
            "arm": self.arms.number(self.labels.get((row.run.name, tested.arm), tested.arm)),
            "seed": tested.seed,
            "sample": sample,
            "problem": self._problem(row.run, tested.benchmark, problem_id, verdict),
            "style": self.styles.number(style_of(prediction, verdict)),
            "outcome": OUTCOMES.index(str(verdict.outcome)),
            "finished": None if prediction is None else int(prediction.finished),
            "text": None if prediction is None else prediction.text,
            "answer": verdict.answer,
            "extraction": self.extractions.number(verdict.extraction),
            "detail": verdict.detail,
            "marks": marks(prediction),
        }
        for field, value in values.items():
            self.rows[field].append(value)

    def _problem(self, run: Run, benchmark: str, problem_id: str, verdict: Verdict) -> int:
        key = (run.name, benchmark, problem_id)
        if key not in self.problems:
            self.problems[key] = len(self.stored)
            known = run.problems.get(benchmark, {}).get(problem_id)
            chains = [_chain(chain) for chain in run.chains.get(problem_id, [])]
            place = self.benchmarks.number(benchmark)
            self.stored.append([place, problem_id, *_told(known, verdict), chains])
        return self.problems[key]

    def content(self) -> dict[str, Any]:
        """Return everything that was added."""
        names = {
            "runs": self.runs, "arms": self.arms, "styles": self.styles,
            "benchmarks": self.benchmarks, "extractions": self.extractions,
        }  # fmt: skip
        return {
            **{name: list(found.known) for name, found in names.items()},
            "outcomes": list(OUTCOMES),
            "problems": self.stored,
            "rows": self.rows,
        }


def style_of(prediction: Prediction | None, verdict: Verdict) -> str:
    """Return a prediction's style; an ensemble's verdict says whose answer it took."""
    found = prediction.style if prediction else verdict.extra.get("style")
    return found if isinstance(found, str) else "not said"


def _told(problem: Problem | None, verdict: Verdict) -> list[Any]:
    """Return question, gold answer, choices and worked solution."""
    if problem is None:
        return [None, verdict.gold, None, None]
    return [problem.question, problem.answer, problem.choices, problem.solution]


def _chain(chain: Chain) -> list[Any]:
    """Return a teacher's chain, and why it was left out where it was."""
    reason = chain.meta.get("reason")
    return [chain.teacher, chain.style, chain.text, reason if isinstance(reason, str) else None]


def marks(prediction: Prediction | None) -> list[Any]:
    """Return how many equations a chain has, then start, end and true value of each false one.

    Places count UTF-16 units, as strings in a page do.
    """
    if prediction is None:
        return [0]
    found = equations(prediction.text, prediction.style)
    false = [equation for equation in found if not equation.ok]
    text = prediction.text
    return [
        len(found),
        *(
            part
            for e in false
            for part in (_units(text[: e.start]), _units(text[: e.end]), e.exact)
        ),
    ]


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
