"""A step of training: on given targets, beside a teacher, or on what the student writes itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from t5distill.errors import UserError
from t5distill.formats import quantised
from t5distill.student import sharding, update
from t5distill.student.config import T5Config
from t5distill.student.divergences import DIVERGENCES
from t5distill.student.losses import SOFT_IDS
from t5distill.student.settings import Settings
from t5distill.student.update import FEATURES, State, Teacher

Batch = dict[str, np.ndarray]


class Learner:
    """Takes a step: on the batch as it is, or on what the student writes for its inputs."""

    def __init__(
        self,
        config: T5Config,
        settings: Settings,
        mesh: Mesh,
        shapes: State,
        teacher: Teacher | None,
        rewrite: Callable[[Any, int, Batch], Batch | None] | None,
    ):
        self.mesh, self.settings = mesh, settings
        self.vocab_size = config.vocab_size
        self.rewrite = rewrite
        self.beside = () if teacher is None else (teacher.params,)
        check_teacher(config, settings, teacher, rewrites=rewrite is not None)
        self.run = update.compile_update(config, settings, mesh, shapes, teacher)
        # Nobody says that what a student writes is right: there only the teacher counts.
        own = dataclasses.replace(settings, soft_weight=1.0)
        self.run_own = self.run
        if own != settings:
            self.run_own = update.compile_update(config, own, mesh, shapes, teacher)

    def __call__(self, state: State, step: int, batch: Batch) -> tuple[State, update.Metrics]:
        """Return the state after the step that follows `step`, which is donated, and metrics."""
        own = self.rewrite(state.params, step, batch) if self.rewrite else None
        run = self.run if own is None else self.run_own
        whole = device_batch(self.mesh, batch if own is None else own, self.settings)
        if self.settings.objective.is_soft and not self.beside:
            _check_soft(batch, self.settings.loss, self.vocab_size)
        return run(state, whole, *self.beside)


def _check_soft(batch: Batch, loss: str, vocab_size: int) -> None:
    """Raise UserError where a batch has no soft labels, or those of another vocabulary."""
    if SOFT_IDS not in batch:
        raise UserError(
            f"LOSS '{loss}' compares with a teacher, but the task has no soft labels; take one of "
            "a soft style, e.g. gsm8k_cot_soft_TEACHER, or give TEACHER_CHECKPOINT_PATH"
        )
    # A gather would not say so.
    greatest = int(quantised.ids(batch[SOFT_IDS]).max(initial=0))
    if greatest >= vocab_size:
        raise UserError(
            f"a soft label is token {greatest}, the student has {vocab_size}; they were made for "
            "another vocabulary"
        )


def check_teacher(
    config: T5Config, settings: Settings, teacher: Teacher | None, *, rewrites: bool
) -> None:
    """Raise UserError where loss, teacher and student do not fit each other."""
    if teacher is None:
        if rewrites:
            raise UserError(
                f"ON_POLICY_SHARE is {settings.on_policy_share}, and nobody scores what the "
                "student writes; give TEACHER_CHECKPOINT_PATH"
            )
        settings.objective.check_listed()
        return
    if not settings.objective.is_soft:
        raise UserError(
            f"LOSS is '{settings.loss}' beside TEACHER_CHECKPOINT_PATH; wanted "
            f"{' or '.join(DIVERGENCES)}"
        )
    if teacher.config.vocab_size != config.vocab_size:
        raise UserError(
            f"the teacher has {teacher.config.vocab_size} tokens, the student {config.vocab_size}; "
            "a white-box teacher needs the student's vocabulary"
        )


def device_batch(mesh: Mesh, batch: Batch, settings: Settings) -> dict[str, jax.Array]:
    """Put this process's rows of a batch on the mesh; only the arrays that the network reads.

    Raises:
      UserError: the batch does not divide over the devices and microbatches.
    """
    shares = sharding.data_layout(mesh)[1]
    rows = len(batch["decoder_target_tokens"]) * shares
    parts = mesh.shape["data"] * settings.microbatches
    if rows % parts:
        raise UserError(
            f"BATCH_SIZE is {rows}, wanted a multiple of {parts}: {mesh.shape['data']} devices "
            f"along data times {settings.microbatches} MICROBATCHES"
        )
    return sharding.global_batch(mesh, {k: batch[k] for k in FEATURES if k in batch})
