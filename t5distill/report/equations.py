"""How true the equations of chains are: what the calculator says of each, and where it stands."""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from t5distill.evaluate import scoring
from t5distill.report.runs import Results
from t5distill.verify import calculator
from t5distill.verify.execution import executed_style

# Equations from this place of a chain on are counted together.
LAST_PLACE = 8


class Equation(NamedTuple):
    """One equation that arithmetic alone decides; `start` and `end` are its place in the text."""

    start: int
    end: int
    ok: bool
    exact: str


@functools.cache
def equations(text: str, style: str | None) -> tuple[Equation, ...]:
    """Return the decidable equations of a chain; programs and systems have none in words."""
    if executed_style(style) is not None:
        return ()
    found, position = [], 0
    for step in calculator.check_steps(text):
        # The calculator gives an equation with its runs of spaces made one.
        written = r"\s+".join(map(re.escape, step.equation.split()))
        place = re.compile(written).search(text, position)
        exact = calculator.format_value(step.exact)
        if place is None:
            found.append(Equation(position, position, step.ok, exact))
            continue
        position = place.end()
        found.append(Equation(place.start(), place.end(), step.ok, exact))
    return tuple(found)


def consistency(tests: Sequence[Results]) -> dict[str, Any] | None:
    """Return how many equations of the first samples are true, by their place in the chain.

    Args:
      tests: one arm's on one benchmark, a student each.

    Returns:
      counts and shares, or None where no chain has an equation.
    """
    places: dict[int, list[bool]] = collections.defaultdict(list)
    chains: dict[str, list[bool]] = {"correct": [], "wrong": []}
    for tested in tests:
        for verdict in scoring.first_samples(tested.verdicts).values():
            prediction = tested.predictions.get((str(verdict.problem_id), verdict.sample or 0))
            if prediction is None:
                continue
            found = equations(prediction.text, prediction.style)
            for place, equation in enumerate(found, start=1):
                places[min(place, LAST_PLACE)].append(equation.ok)
            if found and verdict.outcome in chains:
                chains[verdict.outcome].append(all(equation.ok for equation in found))
    every = [ok for some in places.values() for ok in some]
    if not every:
        return None
    return {
        "equations": len(every),
        "true": sum(every) / len(every),
        "by_place": [
            {"place": place, "n": len(places[place]), "true": sum(oks) / len(oks)}
            for place, oks in sorted(places.items())
        ],
        **{
            f"all_true_of_{outcome}": {"n": len(oks), "share": sum(oks) / len(oks)}
            for outcome, oks in chains.items()
            if oks
        },
    }
