"""From predictions to verdicts to scores: the one place where a run is judged."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from t5distill import formats, places, verify
from t5distill.errors import UserError
from t5distill.evaluate import statistics, voting
from t5distill.records import (
    OUTCOMES,
    Path,
    Prediction,
    Problem,
    Verdict,
    decoded,
    from_object,
    read_jsonl,
)
from t5distill.verify import calculator
from t5distill.verify.execution import executed_style

Samples = Mapping[str, Sequence[Prediction]]

# Ways to an answer that begin at a mark: "The answer is 42", "The answer is (84 / 2)".
_MARKED = ("marker", "equation", "executed", "solved")


def read_predictions(path: Path) -> list[Prediction]:
    """Read our predictions, or T5X's inference JSONL, line by line.

    T5X writes `{"inputs": {"id_pretokenized": ...}, "prediction": ...}`; its `prediction` is a
    text, or a list of texts where several samples were decoded.

    Raises:
      UserError: the file is missing or a line is neither (file and line).
    """
    path = places.place(path)
    if path.is_dir():
        raise UserError(f"{path}: a folder; wanted one of its files of predictions")
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; wanted predictions as `t5distill infer` writes them"
        )
    predictions = []
    with places.reading(path) as f:
        for number, raw in enumerate(f, start=1):
            if not raw.strip():
                continue
            try:
                predictions.extend(_parse(decoded(raw)))
            except (ValueError, RecursionError, UserError) as e:
                raise UserError(f"{path}:{number}: not a prediction: {e}") from e
    return predictions


def read_verdicts(path: Path) -> list[Verdict]:
    """Return the verdicts of a file of `score`; raise UserError where it is another's."""
    verdicts = list(read_jsonl(Verdict, path))
    if odd := [v for v in verdicts if v.outcome not in OUTCOMES or v.problem_id is None]:
        raise UserError(
            f"{path}: a verdict on {odd[0].problem_id!r} with outcome {odd[0].outcome!r}; wanted a "
            "verdicts.jsonl of `t5distill score`"
        )
    return verdicts


def read_problems(path: Path) -> list[Problem]:
    """Read the problems that predictions are of.

    Raises:
      UserError: there are none, or as `read_jsonl`.
    """
    problems = list(read_jsonl(Problem, path))
    if not problems:
        raise UserError(f"{path}: holds no problem")
    return problems


def missing(problems: Sequence[Problem], verdicts: Sequence[Verdict]) -> str | None:
    """Return a warning where problems have no prediction."""
    known = {v.problem_id for v in verdicts if v.outcome != "missing"}
    count = sum(p.id not in known for p in problems)
    if not count:
        return None
    return f"warning: {count} of {len(problems)} problems have no prediction and count as wrong"


def _parse(obj: Any) -> list[Prediction]:
    """Return the predictions of one line."""
    if not isinstance(obj, dict) or "prediction" not in obj or "problem_id" in obj:
        return [_checked(from_object(Prediction, obj))]
    inputs = obj.get("inputs")
    problem_id = inputs.get("id_pretokenized") if isinstance(inputs, dict) else None
    if not isinstance(problem_id, str):
        raise ValueError(
            "a T5X line without inputs.id_pretokenized; infer from a task of t5distill.tasks"
        )
    texts = obj["prediction"] if isinstance(obj["prediction"], list) else [obj["prediction"]]
    if not all(isinstance(t, str) for t in texts):
        raise ValueError("prediction is neither a text nor a list of texts")
    return [Prediction(problem_id=problem_id, text=t, sample=i) for i, t in enumerate(texts)]


def _checked(prediction: Prediction) -> Prediction:
    """Return a prediction that says what can be read; raise where it does not."""
    if prediction.style is not None:
        formats.style(prediction.style)
    counts = prediction.meta.get("calculator", {"forced": 0, "changed": 0})
    if not isinstance(counts, dict) or any(
        type(counts.get(name)) is not int for name in ("forced", "changed")
    ):
        raise ValueError(f'meta.calculator is {counts!r}; wanted {{"forced": 0, "changed": 0}}')
    return prediction


def by_problem(problems: Sequence[Problem], predictions: Iterable[Prediction]) -> Samples:
    """Group predictions by problem, samples in order.

    Raises:
      UserError: a prediction of a problem that is not in the file, or the same sample twice.
    """
    known = {p.id for p in problems}
    if len(known) != len(problems):
        twice = [i for i, c in collections.Counter(p.id for p in problems).items() if c > 1]
        raise UserError(f"problem {twice[0]!r} stands twice in the problem file")
    grouped: dict[str, dict[int, Prediction]] = collections.defaultdict(dict)
    for p in predictions:
        if p.problem_id not in known:
            raise UserError(
                f"a prediction for {p.problem_id!r}, which is not in the problem file; "
                "give --problems the file that the predictions were made from"
            )
        if p.sample in grouped[p.problem_id]:
            raise UserError(
                f"two predictions for {p.problem_id!r} with sample {p.sample}; wanted one for each "
                "sample (files of several styles or students are for `t5distill ensemble`)"
            )
        grouped[p.problem_id][p.sample] = p
    return {i: [s[k] for k in sorted(s)] for i, s in grouped.items()}


def judge_predictions(
    problems: Sequence[Problem], samples: Samples, *, shown: bool = False
) -> list[Verdict]:
    """Judge every prediction; a problem without any gets one verdict `missing`.

    With `shown` a terminal shows how far it is: thousands of programs take their time.
    """
    verdicts = []
    hidden = None if shown else True  # None: unless no terminal is there
    for problem in tqdm(problems, desc="judge", unit="problem", disable=hidden, delay=1.0):
        for prediction in samples.get(problem.id, ()):
            verdict = verify.judge_chain(
                prediction.text, problem, style=prediction.style, finished=prediction.finished
            )
            verdicts.append(
                dataclasses.replace(verdict, problem_id=problem.id, sample=prediction.sample)
            )
        if not samples.get(problem.id):
            verdicts.append(
                Verdict(
                    problem_id=problem.id,
                    sample=0,
                    outcome="missing",
                    gold=problem.answer,
                    detail="no prediction for this problem",
                )
            )
    return verdicts


def summarise(
    problems: Sequence[Problem], samples: Samples, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Return the content of scores.json.

    Shares are of all problems, those without a prediction included. `accuracy`, `outcomes` and the
    other shares are those of the first sample; `vote_k` is the majority's over all k samples, and
    `vote_curve` what fewer samples would have given.
    """
    first, n = first_samples(verdicts), len(problems)
    outcomes = collections.Counter(v.outcome for v in first.values())
    texts = {p.id: samples[p.id][0].text for p in problems if samples.get(p.id)}
    agree = {"strict_match": 0, "flexible_extract": 0, "calculator": 0}
    for p in problems:
        if p.id not in texts:
            continue
        agree["strict_match"] += verify.strict_match(texts[p.id], p.answer, p.kind, p.choices)
        agree["flexible_extract"] += verify.flexible_extract(
            texts[p.id], p.answer, p.kind, p.choices
        )
        # A program has no equations in words to be worked out again.
        agree["calculator"] += (
            first[p.id].outcome == "correct"
            if executed_style(samples[p.id][0].style)
            else _correct_after_calculator(p, samples[p.id][0])
        )
    scores = {
        **statistics.wilson(outcomes["correct"], n).accuracy(),
        "n": n,
        "extractor": verify.VERSION,
        "outcomes": {o: _share(outcomes[o], n) for o in OUTCOMES},
        "strict_match": _share(agree["strict_match"], n),
        "flexible_extract": _share(agree["flexible_extract"], n),
        "calculator_after_decoding": _share(agree["calculator"], n),
        "calculator_in_decoding": _calculator_in_decoding(samples, n),
        "no_marker": _share(sum(v.extraction not in _MARKED for v in first.values()), n),
        "truncated": _share(sum(not s[0].finished for s in samples.values() if s), n),
        "executed": _share(
            sum(executed_style(s[0].style) is not None for s in samples.values() if s), n
        ),
    }
    if levels := isolation_levels(verdicts):
        scores["isolation"] = levels
    k = max((len(s) for s in samples.values()), default=0)
    if k > 1:
        _add_votes(scores, problems, verdicts, k)
    return scores


def first_samples(verdicts: Iterable[Verdict]) -> dict[str | None, Verdict]:
    """Return by problem the verdict on its first sample, the lowest that there is."""
    first: dict[str | None, Verdict] = {}
    for v in verdicts:
        if v.problem_id not in first or (v.sample or 0) < (first[v.problem_id].sample or 0):
            first[v.problem_id] = v
    return first


def isolation_levels(verdicts: Iterable[Verdict]) -> list[str]:
    """Return how far programs were isolated while these verdicts were found; mostly one level."""
    return sorted({v.extra["isolation"] for v in verdicts if "isolation" in v.extra})


def _add_votes(
    scores: dict[str, Any],
    problems: Sequence[Problem],
    verdicts: Iterable[Verdict],
    k: int,
) -> None:
    """Add the majority's accuracy over all k samples, and the curve up to there."""
    grouped = collections.defaultdict(list)
    for v in sorted(verdicts, key=lambda v: v.sample or 0):
        grouped[v.problem_id].append(v)
    ballots = [voting.ballot(p, grouped[p.id]) for p in problems]
    winners = map(voting.majority, ballots)
    right = sum(w is not None and w.outcome == "correct" for w in winners)
    scores[f"vote_{k}"] = statistics.wilson(right, len(problems)).accuracy()
    ks = sorted({k, *(2**i for i in range(k.bit_length()))})
    scores["vote_curve"] = [
        {"k": each, **found.accuracy()} for each, found in voting.curve(ballots, ks).items()
    ]


def _calculator_in_decoding(samples: Samples, n: int) -> dict[str, float]:
    """Return which share of first samples was decoded with the calculator, and what it wrote.

    `forced` and `changed` are numbers of values, as `Student.generate` counts them.
    """
    counts = [s[0].meta["calculator"] for s in samples.values() if s and "calculator" in s[0].meta]
    return {
        "share": _share(len(counts), n),
        **{name: sum(count[name] for count in counts) for name in ("forced", "changed")},
    }


def _correct_after_calculator(problem: Problem, prediction: Prediction) -> bool:
    """Judge a text again with its equations re-evaluated (Magister et al. 2022, after decoding)."""
    text = prediction.text
    if problem.kind == "numeric":
        text, _ = calculator.recalculate(text)
    verdict = verify.judge(
        text,
        problem.answer,
        problem.kind,
        choices=problem.choices,
        finished=prediction.finished,
    )
    return verdict.outcome == "correct"


def _share(count: int, n: int) -> float:
    return count / n if n else 0.0


def compare(verdicts: Sequence[Verdict], baseline: Sequence[Verdict]) -> dict[str, float]:
    """Return the paired difference in accuracy between two runs over the same problems.

    Raises:
      UserError: the runs are not over the same problems.
    """
    sides = [
        {i: v.outcome == "correct" for i, v in first_samples(side).items()}
        for side in (verdicts, baseline)
    ]
    if sides[0].keys() != sides[1].keys():
        odd = sorted(str(i) for i in sides[0].keys() ^ sides[1].keys())
        raise UserError(
            f"the runs are over different problems: {len(odd)} stand in one only, e.g. {odd[0]!r}"
        )
    ids = sorted(str(i) for i in sides[0])
    result = statistics.paired_bootstrap([sides[0][i] for i in ids], [sides[1][i] for i in ids])
    return {"difference": result.estimate, "low": result.low, "high": result.high, "n": len(ids)}
