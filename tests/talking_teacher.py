"""A curated set with log-probabilities, for the tests of either engine's launchers."""

import math

from t5distill import data
from t5distill.records import Chain, Problem, read_jsonl

TOP = 5


def chain_with_tokens(problem):
    """Return a chain of a problem's solution, each word with four others beside it."""
    tokens = []
    for i, word in enumerate(problem.solution.split(" ")):
        text = f" {word}" if i else word
        others = [f" {other}" if i else other for other in ("the", "of", "7", "so")]
        shares = zip((text, *others), (0.7, 0.1, 0.05, 0.05, 0.05), strict=True)
        seen = {t: math.log(p) for t, p in reversed(list(shares))}
        seen |= {f" x{j}": math.log(0.001) for j in range(TOP - len(seen))}
        tokens.append({"text": text, "top": sorted(map(list, seen.items()), key=lambda x: -x[1])})
    return Chain(
        problem_id=problem.id,
        style="cot",
        text=problem.solution,
        teacher="talker",
        meta={"tokens": tokens},
    )


def write_set(root):
    """Write the set `embedded_cot_talker` under a data directory that has embedded problems."""
    problems = list(read_jsonl(Problem, root / "embedded/train.jsonl"))
    pairs = [(problem, chain_with_tokens(problem)) for problem in problems]
    data.write_tfds("embedded_cot_talker", pairs, root=root / "tfds", soft_labels=TOP)
