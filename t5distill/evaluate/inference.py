"""The inference driver: problems in, predictions out, without losing work to a kill.

A problem's texts depend on its position in the file and on the settings, not on what else is
decoded with it, so that a resumed run writes what an unbroken one would have written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from t5distill import formats
from t5distill.errors import UserError
from t5distill.evaluate.rounds import Decoding, Generator, Rounds, Turns
from t5distill.evaluate.store import Store
from t5distill.formats.conversation import Talk
from t5distill.places import place
from t5distill.records import Path, Prediction, Problem, from_object, read_jsonl, to_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inference:
    """What one run did.

    Attributes:
      problems: problems in the file.
      reused: of these, those whose predictions were there already.
      tokens: tokens decoded in this run, over all samples.
      wall_s: seconds of decoding in this run.
      set_aside: files of a run with other settings that had these names before.
    """

    problems: int
    reused: int
    tokens: int
    wall_s: float
    set_aside: tuple[str, ...] = ()


def infer(
    *,
    student: Generator,
    problems_path: Path,
    out_path: Path,
    style: str,
    decoding: Decoding,
    pool: Sequence[formats.Shot] = (),
    first: Generator | None = None,
    slots: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Inference:
    """Decode predictions for every problem of a file; all processes of a pod call it, one writes.

    Run again with the same settings it finishes what was left, or does nothing.

    Args:
      student: the network.
      problems_path: JSONL of Problem.
      out_path: JSONL of Prediction to write.
      style: how the student is asked.
      decoding: how its answers are decoded.
      pool: what demonstrations are drawn from, by a style that shows some.
      first: of two students the one that comes first, see `rounds.Rounds`.
      slots: rows decoded together; see `student.decoding.generate_tokens`.
      stop: asked after each turn of a problem; True ends the run, which then goes on from there.

    Raises:
      UserError: the problems cannot be read, two share an id, or a setting is out of range.
      KeyboardInterrupt: `stop` said so.
    """
    problems = list(read_jsonl(Problem, problems_path))
    _check_ids(problems, problems_path)
    _check_first(problems, style, pool, first)
    settings = _settings(student, first, problems, style, decoding, pool)
    store = None
    if jax.process_index() == 0:
        store = Store(place(out_path), settings)
    known, complete = _shared(store)
    if complete:
        return Inference(problems=len(problems), reused=len(problems), tokens=0, wall_s=0.0)
    bar = tqdm(
        total=len(problems), desc=f"decode {style}", unit="problem", disable=None if store else True
    )
    run = _Run(bar=bar, store=store, stop=stop)
    rounds = Rounds(
        student=student,
        problems=problems,
        style=style,
        decoding=decoding,
        pool=pool,
        first=first,
        slots=slots,
        kept=run.kept,
        done=run.done,
    )
    with bar, store.opened() if store else contextlib.nullcontext():
        chains = rounds.run(known)
    if store is not None:
        store.finish(p for some in chains for p in some)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("predictions written")
    wall_s = time.monotonic() - run.started
    return Inference(
        problems=len(problems),
        reused=len(problems) - len(run.asked),
        tokens=run.tokens,
        wall_s=wall_s,
        set_aside=tuple(map(str, store.set_aside)) if store else (),
    )


@dataclasses.dataclass(kw_only=True)
class _Run:
    """What one run keeps and shows."""

    bar: Any
    store: Store | None
    stop: Callable[[], bool]
    tokens: int = 0
    asked: set[int] = dataclasses.field(default_factory=set)
    started: float = dataclasses.field(default_factory=time.monotonic)

    def kept(self, index: int, turn: int, predictions: list[Prediction]) -> None:
        self.asked.add(index)
        self.tokens += sum(p.meta.get("tokens", 0) for p in predictions)
        if self.store is not None:
            self.store.add(index, turn, predictions)
        rate = self.tokens / (time.monotonic() - self.started)
        self.bar.set_postfix_str(f"turn {turn + 1}, {rate:.0f} tokens/s", refresh=False)
        # All processes of a pod stop together or not at all: one of them alone would wait for ever.
        if jax.process_count() == 1 and self.stop():
            raise KeyboardInterrupt

    def done(self, _index: int, _chains: list[Prediction]) -> None:
        self.bar.update()


def _settings(
    student: Generator,
    first: Generator | None,
    problems: list[Problem],
    style: str,
    decoding: Decoding,
    pool: Sequence[formats.Shot],
) -> dict[str, Any]:
    """Return everything that the predictions depend on."""
    asked = formats.style(style)
    texts = [Talk(asked.converse(problem, pool)).asked for problem in problems]
    inputs = json.dumps([p.id for p in problems] + texts).encode()
    settings = {
        "student": student.fingerprint(),
        "inputs": hashlib.sha256(inputs).hexdigest(),
        "style": style,
        **dataclasses.asdict(decoding),
    }
    return settings if first is None else {**settings, "first": first.fingerprint()}


def _check_first(
    problems: list[Problem], style: str, pool: Sequence[formats.Shot], first: Generator | None
) -> None:
    """Raise UserError where a student that comes first would never be asked."""
    if first is None or not problems:
        return
    pending = Talk(formats.style(style).converse(problems[0], pool)).pending
    if pending is None or not pending.first:
        raise UserError(
            f"style {style} is asked of one student; leave FIRST_CHECKPOINT_PATH unset, or choose "
            "a style of two, such as socratic or sci_cot"
        )


def _shared(store: Store | None) -> tuple[dict[int, Turns], bool]:
    """Return the turns that process 0 has found, and whether all is done, to every process."""
    if jax.process_count() == 1:
        assert store is not None
        return store.turns, store.complete
    content = b""
    if store is not None:
        turns = [
            [index, [[to_json(p) for p in turns] for _, turns in sorted(samples.items())]]
            for index, samples in store.turns.items()
        ]
        content = json.dumps([store.complete, turns]).encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int64(len(content))))
    padded = np.zeros(length, np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    content = bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded)).astype(np.uint8))
    complete, turns = json.loads(content)
    found = {
        index: {
            s: [from_object(Prediction, json.loads(p)) for p in some]
            for s, some in enumerate(samples)
        }
        for index, samples in turns
    }
    return found, complete


def _check_ids(problems: list[Problem], path: Path) -> None:
    if not problems:
        raise UserError(f"{path}: holds no problem")
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise UserError(f"{path}: two problems have the id {problem.id!r}; ids must differ")
        seen.add(problem.id)
