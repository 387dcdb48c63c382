"""Fine-tuning a student, told from top to bottom in `fit`.

The trainer sees numpy batches, callables and a directory; where batches come from, how metrics are
written and how answers are judged is the caller's business.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from t5distill.errors import UserError
from t5distill.student import checkpoints, sharding, update
from t5distill.student.config import T5Config
from t5distill.student.learner import Learner
from t5distill.student.losses import SOFT_FEATURES
from t5distill.student.settings import Settings
from t5distill.student.update import FEATURES, State, Teacher

Batch = dict[str, np.ndarray]


class Writer(Protocol):
    """Where metrics go."""

    def advance(self, step: int) -> None:
        """Note that `step` updates were started, for a progress bar; called at every step."""

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Record metrics of the model after `step` updates."""


class Outcome(NamedTuple):
    """How `fit` ended: the state, the newest metrics, and whether `stop` ended it early."""

    state: State
    metrics: dict[str, float]
    stopped: bool


def fit(
    config: T5Config,
    settings: Settings,
    *,
    directory: epath.PathLike,
    batches: Callable[[int], Iterator[Batch]],
    mesh: Mesh | None = None,
    record: dict[str, Any] | None = None,
    initial: Callable[[Any], Any] | None = None,
    validation: Callable[[], Iterable[Batch]] | None = None,
    evaluate: Callable[[Any, int], dict[str, float]] | None = None,
    teacher: Teacher | None = None,
    rewrite: Callable[[Any, int, Batch], Batch | None] | None = None,
    writer: Writer | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train to `settings.train_steps`, from the newest whole checkpoint of `directory` if any.

    Args:
      config: the network.
      settings: lengths, loss, optimizer and periods.
      directory: MODEL_DIR.
      batches: from a step to the batches that follow it, this process's rows of each
        (`sharding.data_layout`): int32 arrays `[rows, length]` under the names of `FEATURES`
        (of soft labels `[rows, length * k]`).
      mesh: as `sharding.make_mesh` returns; by default all devices along `data`.
      record: what config.json holds beside the model.
      initial: from a tree of shapes with shardings to initial parameters; random by default. A
        checkpoint in `directory` wins over it.
      validation: gives one pass over the validation split, for `validation_loss`.
      evaluate: from parameters and step to further metrics; by `validation_accuracy` among them the
        best checkpoint is chosen, by `validation_loss` otherwise.
      teacher: a white-box teacher, whose distribution the loss is taken from.
      rewrite: from parameters, step and a batch to the same batch with targets that the student
        wrote itself, or None where this step learns from the given ones (`on_policy.OnPolicy`).
      writer: where metrics go.
      stop: asked at every step (of several processes: at every log); True saves and ends.

    Raises:
      UserError: the loss is not finite, the data ended, or sizes do not fit.
    """
    # --- where everything lives
    mesh = mesh or sharding.make_mesh()
    shapes = update.abstract_state(config, settings, mesh)
    checkpoints.write_config(directory, config, record or {})
    saver = checkpoints.Checkpoints(directory, keep=settings.keep_checkpoints)

    # --- resume, or begin with given parameters, or with random ones
    state, metrics = _begin(config, settings, saver, shapes, initial)
    step = int(state.step)

    # --- the compiled update, and what reads its metrics
    learn = Learner(config, settings, mesh, shapes, teacher, rewrite)
    journal = Journal(settings, writer)
    examine = Examiner(config, mesh, shapes, validation, evaluate)
    source = batches(step)
    stopped = False

    # --- the loop
    try:
        while step < settings.train_steps and not stopped:
            state, row = learn(state, step, _next(source, step))
            step += 1
            journal.add(step, row)

            last = step == settings.train_steps
            logs = last or step % settings.log_period == 0
            if logs or jax.process_count() == 1:
                stopped = _agreed(stop())
            evaluates = examine.due(step, settings.eval_period, last=last)
            saves = last or stopped or _periodic(step, settings.checkpoint_period)

            # Reading a metric waits for the devices, so metrics are read together; and before
            # anything is saved, so that parameters that are not finite never reach the disk.
            if logs or evaluates or saves:
                metrics = journal.read()
            evaluated = examine(state.params, step) if evaluates else {}
            if evaluated:
                metrics = {**metrics, **evaluated}
                journal.write(step, evaluated)
            if saves or saver.improves(evaluated):
                saver.save(step, state.params, state.optimizer, evaluated)
        # What was saved just now may still be under way.
        if step == 0 and not checkpoints.steps(saver.directory):
            # TRAIN_STEPS is 0: what it began with is the result, to compare trained students with.
            saver.save(step, state.params, state.optimizer, {})
    finally:
        saver.close()
    return Outcome(state, metrics, stopped and step < settings.train_steps)


def _begin(
    config: T5Config,
    settings: Settings,
    saver: checkpoints.Checkpoints,
    shapes: State,
    initial: Callable[[Any], Any] | None,
) -> tuple[State, dict[str, float]]:
    """Return the state to train from, and the metrics saved with it."""
    have = checkpoints.steps(saver.directory)
    if have:
        restored = saver.restore(have[-1], shapes.params, shapes.optimizer)
        step = jax.make_array_from_callback(
            (), shapes.step.sharding, lambda _: np.asarray(restored.step, np.int32)
        )
        return State(restored.params, restored.optimizer, step), restored.metrics
    if initial:
        params = initial(shapes.params)
        checkpoints.check_shapes("the initial checkpoint", params, shapes.params)
    else:
        params = update.random_parameters(config, settings.random_seed, shapes)
    return update.start_state(params, settings, shapes), {}


def _next(source: Iterator[Batch], step: int) -> Batch:
    batch = next(source, None)
    if batch is None:
        raise UserError(
            f"the training data ended after step {step}; it must repeat until TRAIN_STEPS"
        )
    return batch


def _periodic(step: int, period: int) -> bool:
    return period > 0 and step % period == 0


def _agreed(flag: bool) -> bool:
    """Return True on every process as soon as one says so."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


class Journal:
    """Keeps each step's metrics on the devices until they are read together."""

    def __init__(self, settings: Settings, writer: Writer | None):
        self.settings = settings
        self.writer = writer
        self.rows: list[tuple[int, dict[str, jax.Array]]] = []
        self.since = time.perf_counter()

    def add(self, step: int, row: dict[str, jax.Array]) -> None:
        """Take the metrics of one update."""
        self.rows.append((step, row))
        if self.writer is not None:
            self.writer.advance(step)

    def read(self) -> dict[str, float]:
        """Read and write the means since the last reading, and the speed.

        Raises:
          UserError: a loss or gradient is not finite.
        """
        rows = jax.device_get([row for _, row in self.rows])
        for (step, _), row in zip(self.rows, rows, strict=True):
            for name in ("loss", "gradient_norm"):
                if not math.isfinite(row[name]):
                    raise UserError(
                        f"{name} is {row[name]} at step {step}. Lower LEARNING_RATE (now "
                        f"{self.settings.learning_rate:g}) or raise WARMUP_STEPS (now "
                        f"{self.settings.warmup_steps}); with DTYPE 'bfloat16' a Z_LOSS of 1e-4 "
                        "helps. The newest checkpoint is from before it; delete it or give another "
                        "MODEL_DIR to start again."
                    )
        step, now = self.rows[-1][0], time.perf_counter()
        metrics = {k: float(np.mean([row[k] for row in rows])) for k in rows[0] if k != "tokens"}
        tokens = float(sum(row["tokens"] for row in rows))
        metrics["tokens_per_second"] = tokens / (now - self.since)
        metrics["steps_per_second"] = len(rows) / (now - self.since)
        self.rows = []
        self.write(step, metrics)
        return metrics

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Hand metrics to the writer; time spent on reports and evaluations is not training."""
        if self.writer is not None:
            self.writer.write(step, metrics)
        self.since = time.perf_counter()


class Examiner:
    """Measures a student on the validation split: loss here, and whatever `evaluate` adds."""

    def __init__(
        self,
        config: T5Config,
        mesh: Mesh,
        shapes: State,
        validation: Callable[[], Iterable[Batch]] | None,
        evaluate: Callable[[Any, int], dict[str, float]] | None,
    ):
        self.mesh = mesh
        self.validation = validation
        self.evaluate = evaluate
        self.measure = update.compile_measure(config, mesh, shapes)

    def due(self, step: int, period: int, *, last: bool) -> bool:
        """Say whether to evaluate after `step`; the last one always is, unless period is 0."""
        if not (self.validation or self.evaluate):
            return False
        return period > 0 and (last or _periodic(step, period))

    def __call__(self, params: Any, step: int) -> dict[str, float]:
        """Return the metrics, their names beginning with `validation_` where measured here."""
        metrics = {}
        if self.validation:
            metrics |= self._loss(params, self.validation())
        if self.evaluate:
            metrics |= self.evaluate(params, step)
        return metrics

    def _loss(self, params: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """Return the mean loss over all target tokens of the split, each counted once."""
        total = np.zeros(3, np.float64)
        source, last = iter(batches), None
        while True:
            batch = next(source, None)
            if not _agreed(batch is not None):
                break
            # A process whose share ended before another's takes part with weight 0.
            if batch is None:
                assert last is not None
                nothing = np.zeros_like(last["decoder_target_tokens"])
                batch = {**last, "decoder_loss_weights": nothing}
            last = batch
            sums = self.measure(params, self._padded(batch))
            found = (sums.weight, sums.loss, sums.correct)
            total += np.asarray(jax.device_get(found), np.float64)
        if total[0] == 0:
            raise UserError("the validation split has no target token; check EVAL_SPLIT")
        return {
            "validation_loss": float(total[1] / total[0]),
            "validation_token_accuracy": float(total[2] / total[0]),
        }

    def _padded(self, batch: Batch) -> dict[str, jax.Array]:
        """Fill the batch with rows of padding, which weigh nothing, to what the mesh divides."""
        shards = self.mesh.shape["data"] // sharding.data_layout(self.mesh)[1]
        rows = len(batch["decoder_target_tokens"])
        missing = -rows % shards
        # Measured is plain cross-entropy, so that losses compare whatever a student learns from.
        read = [k for k in FEATURES if k in batch and k not in SOFT_FEATURES]
        whole = {k: np.pad(batch[k], ((0, missing), (0, 0))) for k in read}
        whole.setdefault("decoder_loss_weights", whole["decoder_target_tokens"] > 0)
        return sharding.global_batch(self.mesh, whole)
