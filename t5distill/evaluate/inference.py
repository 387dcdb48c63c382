"""The single-pass inference driver: problems in, predictions out, without losing work to a kill.

    NAME.jsonl            predictions in the problems' order, written once all are there
    NAME.settings.json    what they depend on; an equal run takes the file as it is
    NAME.jsonl.partial    while running: the settings, then one line for each finished problem

A problem's texts depend on its position in the file and on the settings, not on what else is
decoded with it, so that a resumed run writes what an unbroken one would have written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Protocol

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from t5distill import formats
from t5distill.errors import UserError
from t5distill.records import (
    Path,
    Prediction,
    Problem,
    from_object,
    read_jsonl,
    to_json,
    write_json,
    write_jsonl,
)


class Generator(Protocol):
    """What the driver needs of a student: `t5distill.Student` is one."""

    def fingerprint(self) -> str:
        """Return a text that changes with the weights."""
        ...

    def generate(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        num_samples: int,
        temperature: float,
        top_k: int,
        top_p: float,
        beam_size: int,
        seed: int,
        indices: Sequence[int] | None,
        slots: int | None,
        calculator: bool,
        progress: Callable[[int, list[Prediction]], None] | None,
    ) -> list[list[Prediction]]:
        """Decode `texts`; see `t5distill.Student.generate`."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inference:
    """What one run did.

    Attributes:
      problems: problems in the file.
      reused: of these, those whose predictions were there already.
      tokens: tokens decoded in this run, over all samples.
      wall_s: seconds of decoding in this run.
    """

    problems: int
    reused: int
    tokens: int
    wall_s: float


def infer(
    *,
    student: Generator,
    problems_path: Path,
    out_path: Path,
    style: str,
    max_tokens: int,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    beam_size: int = 1,
    seed: int = 0,
    slots: int | None = None,
    calculator: bool = False,
) -> Inference:
    """Decode predictions for every problem of a file; all processes of a pod call it, one writes.

    Run again with the same settings it finishes what was left, or does nothing.

    Args:
      student: the network.
      problems_path: JSONL of Problem.
      out_path: JSONL of Prediction to write.
      style: the style whose inputs the student reads.
      max_tokens: the longest output, EOS included.
      num_samples: predictions for each problem.
      temperature: 0 for greedy.
      top_k: see `student.sampling.Sampling`.
      top_p: likewise.
      beam_size: above 1, beam search.
      seed: of sampling.
      slots: rows decoded together; see `student.decoding.generate_tokens`.
      calculator: whether the exact results of equations are forced.

    Raises:
      UserError: the problems cannot be read, two share an id, or a setting is out of range.
    """
    problems = list(read_jsonl(Problem, problems_path))
    _check_ids(problems, problems_path)
    texts = [formats.style(style).inputs(problem) for problem in problems]
    decoding = {
        "max_tokens": max_tokens,
        "num_samples": num_samples,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "beam_size": beam_size,
        "seed": seed,
        "calculator": calculator,
    }
    settings = {
        "student": student.fingerprint(),
        "inputs": _sha256(json.dumps([p.id for p in problems] + texts).encode()),
        "style": style,
        **decoding,
    }
    store = None
    if jax.process_index() == 0:
        store = _Store(pathlib.Path(out_path), settings, [(p.id, style) for p in problems])
    have = np.zeros(len(problems), np.bool_) if store is None else store.have()
    if jax.process_count() > 1:
        have = np.asarray(multihost_utils.broadcast_one_to_all(have))
    missing = np.flatnonzero(~have).tolist()
    bar = tqdm(
        total=len(problems),
        initial=len(problems) - len(missing),
        desc=f"decode {style}",
        unit="problem",
        disable=None if store else True,
    )
    tokens = 0
    started = time.monotonic()
    with bar, store.opened() if store else contextlib.nullcontext():

        def keep(place: int, predictions: list[Prediction]) -> None:
            nonlocal tokens
            tokens += sum(p.meta.get("tokens", 0) for p in predictions)
            if store is not None:
                store.add(missing[place], predictions)
            bar.update()
            rate = tokens / (time.monotonic() - started)
            bar.set_postfix_str(f"{rate:.0f} tokens/s", refresh=False)

        if missing:
            left = [texts[i] for i in missing]
            student.generate(left, **decoding, indices=missing, slots=slots, progress=keep)
    wall_s = time.monotonic() - started
    if store is not None:
        store.finish()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("predictions written")
    reused = len(problems) - len(missing)
    return Inference(problems=len(problems), reused=reused, tokens=tokens, wall_s=wall_s)


def _check_ids(problems: list[Problem], path: Path) -> None:
    if not problems:
        raise UserError(f"{path}: holds no problem")
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise UserError(f"{path}: two problems have the id {problem.id!r}; ids must differ")
        seen.add(problem.id)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Store:
    """The three files of a run; see the module's docstring."""

    def __init__(
        self, out: pathlib.Path, settings: dict[str, Any], names: Sequence[tuple[str, str]]
    ):
        """Look for earlier work; `names` are each problem's id and style."""
        self.out = out
        self.settings = settings
        self.names = names
        self.settings_path = out.with_suffix(".settings.json")
        self.partial_path = out.with_name(out.name + ".partial")
        self.complete = self._is_complete()
        self.found: dict[int, list[Prediction]] = {}
        self._good_bytes = 0
        self._partial: IO[bytes] | None = None
        if not self.complete:
            self._read_partial()

    def _is_complete(self) -> bool:
        """Say whether the output is there, untouched, from the same settings."""
        try:
            saved = json.loads(self.settings_path.read_text(encoding="utf-8"))
            return saved["settings"] == self.settings and saved["sha256"] == _sha256(
                self.out.read_bytes()
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _read_partial(self) -> None:
        """Take over the whole lines of a run that was cut off, if its settings were the same."""
        try:
            lines = self.partial_path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        # What follows the last newline is the line that was being written.
        for i, line in enumerate(lines[:-1]):
            try:
                obj = json.loads(line)
                if i == 0 and obj != self.settings:
                    return
                if i > 0:
                    predictions = [from_object(Prediction, p) for p in obj["predictions"]]
                    self.found[int(obj["index"])] = predictions
            except (ValueError, KeyError, TypeError):
                return
            self._good_bytes += len(line) + 1

    def have(self) -> np.ndarray:
        """Return bool `[problems]`: which have their predictions."""
        have = np.full(len(self.names), self.complete)
        have[list(self.found)] = True
        return have

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the partial file open behind its last whole line, unless all is done."""
        if self.complete:
            yield
            return
        self.partial_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.partial_path, "ab") as self._partial:
            self._partial.truncate(self._good_bytes)
            if self._good_bytes == 0:
                self._partial.write(json.dumps(self.settings).encode() + b"\n")
            yield

    def add(self, index: int, predictions: list[Prediction]) -> None:
        """Keep one problem's predictions, in memory and in the partial file."""
        assert self._partial is not None
        name, style = self.names[index]
        named = [dataclasses.replace(p, problem_id=name, style=style) for p in predictions]
        self.found[index] = named
        line = {"index": index, "predictions": [json.loads(to_json(p)) for p in named]}
        self._partial.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._partial.flush()

    def finish(self) -> None:
        """Write the output, then its settings; an older pair never counts as this one."""
        if self.complete:
            return
        self.settings_path.unlink(missing_ok=True)
        write_jsonl(self.out, (p for i in range(len(self.names)) for p in self.found[i]))
        saved = {"settings": self.settings, "sha256": _sha256(self.out.read_bytes())}
        write_json(self.settings_path, saved)
        os.unlink(self.partial_path)
