"""Metrics of a training run: metrics.jsonl, TensorBoard, and a progress bar."""

from __future__ import annotations

import json
import os
import time

from clu import metric_writers
from etils import epath
from tqdm import tqdm

from t5distill.errors import UserError


class MetricsWriter:
    """Writes one JSON line for each report, TensorBoard scalars, and a bar with loss and ETA.

        MODEL_DIR/metrics.jsonl    {"step": ..., "seconds": ..., NAME: value, ...}
        MODEL_DIR/tensorboard/

    After a resume the lines of steps that will be trained again are dropped, so that a file reads
    as if the run had never been broken.

    Args:
      directory: MODEL_DIR.
      first_step: the step that training begins or resumes from.
      last_step: TRAIN_STEPS.
      leads: False in all processes but one; they write nothing.
    """

    def __init__(self, directory: epath.PathLike, *, first_step: int, last_step: int, leads: bool):
        self.leads = leads
        self.path = epath.Path(directory) / "metrics.jsonl"
        self.started = time.monotonic()
        self.bar = tqdm(
            total=last_step,
            initial=first_step,
            desc="train",
            unit="step",
            disable=None if leads else True,
        )
        if not leads:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lines = _lines_until(self.path, first_step)
        self.path.write_text("".join(self.lines))
        self.board = metric_writers.SummaryWriter(str(self.path.parent / "tensorboard"))

    def advance(self, step: int) -> None:
        """Move the bar."""
        self.bar.update(step - self.bar.n)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Write the metrics of one step."""
        if not self.leads:
            return
        row = {"step": step, "seconds": round(time.monotonic() - self.started, 3), **scalars}
        self._append(json.dumps(row) + "\n")
        self.board.write_scalars(step, scalars)
        shown = {k: f"{scalars[k]:.4g}" for k in ("loss", "validation_loss") if k in scalars}
        if "validation_accuracy" in scalars:
            shown["accuracy"] = f"{scalars['validation_accuracy']:.1%}"
        self.bar.set_postfix(shown, refresh=False)

    def _append(self, line: str) -> None:
        if "://" not in os.fspath(self.path):
            with open(self.path, "a", encoding="utf-8") as f:
                f.write(line)
            return
        # Object stores cannot append.
        self.lines.append(line)
        self.path.write_text("".join(self.lines))

    def close(self) -> None:
        """Close the bar and flush the files."""
        self.bar.close()
        if self.leads:
            self.board.flush()
            self.board.close()


def _lines_until(path: epath.Path, step: int) -> list[str]:
    """Return the whole lines of a metrics file up to a step."""
    if not path.exists():
        return []
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError) as e:
            raise UserError(f"{path}: not a metrics file of ours; give another MODEL_DIR") from e
    return kept
