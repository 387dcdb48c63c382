"""Answer and rationale as two tasks of one student (Hsieh et al. 2023, "Distilling step-by-step").

`predict: ` asks for the answer alone and `explain: ` for the rationale; a token of the first counts
alpha in the loss and one of the second 1 - alpha (their equation 4). At inference only `predict: `
is asked, so that reasoning costs nothing then.
"""

from __future__ import annotations

from collections.abc import Callable

from t5distill.formats import answer, cot
from t5distill.formats.example import WHOLE_WEIGHT, Example
from t5distill.records import Chain, Problem

PREDICT, EXPLAIN = "predict: ", "explain: "
# In percent; theirs is 50.
ALPHAS = (10, 20, 30, 40, 50, 60, 70, 80, 90)


def inputs(problem: Problem) -> str:
    """Return what the student reads when it is asked for the answer."""
    return f"{PREDICT}{answer.question(problem)}"


def targets(problem: Problem, chain: Chain | None = None) -> str:
    """Return the answer; the rationale is another example's target."""
    return answer.sentence(problem)


def examples(alpha: int) -> Callable[[Problem, Chain | None], list[Example]]:
    """Return what makes the two examples of a chain, the answer's counting `alpha` percent."""
    weight = WHOLE_WEIGHT * alpha // 100

    def both(problem: Problem, chain: Chain | None) -> list[Example]:
        found = [Example(inputs(problem), targets(problem), weight)]
        if chain is not None:
            asked = f"{EXPLAIN}{answer.question(problem)}"
            found.append(Example(asked, cot.rationale(chain.text), WHOLE_WEIGHT - weight))
        return found

    return both
