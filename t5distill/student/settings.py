"""How to train a student: the literals of a recipe, checked."""

from __future__ import annotations

import dataclasses

import optax

from t5distill.errors import UserError
from t5distill.student import losses, optimizers
from t5distill.student.objective import Objective


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Length, loss, optimizer and periods of one training run; each field is a macro in capitals.

    Attributes:
      train_steps: optimizer updates in all, those before a resume included.
      loss: a name of `objective.LOSSES`: `cross_entropy`, or the divergence from a teacher.
      soft_weight: share of that divergence, the rest is cross-entropy.
      soft_temperature: of both distributions in the divergence.
      missing_mass: what becomes of the probability that a teacher's likeliest tokens lack, a name
        of `objective.MISSING_MASS`.
      jsd_beta: of `jensen_shannon`.
      on_policy_share: share of the updates whose targets the student writes itself, for a
        white-box teacher to score.
      z_loss: coefficient of (log Z)^2.
      label_smoothing: probability taken from the target token.
      loss_normalizing_factor: as in T5X: a name of `losses.NORMALIZING_FACTORS`, a number that the
        summed loss is divided by, or None for the sum.
      optimizer: a name of `optimizers.OPTIMIZERS`.
      schedule: a name of `optimizers.SCHEDULES`.
      learning_rate: the schedule's peak.
      warmup_steps: updates until the peak.
      microbatches: parts that a batch is processed in, one after the other, for less memory.
      random_seed: of initial parameters and dropout.
      log_period: steps between rows of metrics.
      eval_period: steps between evaluations; 0 for none.
      checkpoint_period: steps between checkpoints; 0 for the last and the best only.
      keep_checkpoints: how many of the newest to keep beside the best.
    """

    train_steps: int
    loss: str = "cross_entropy"
    soft_weight: float = 1.0
    soft_temperature: float = 1.0
    missing_mass: str = "drop"
    jsd_beta: float = 0.5
    on_policy_share: float = 0.0
    z_loss: float = 0.0
    label_smoothing: float = 0.0
    loss_normalizing_factor: float | str | None = "NUM_REAL_TARGET_TOKENS"
    optimizer: str = "adafactor"
    schedule: str = "constant"
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    microbatches: int = 1
    random_seed: int = 0
    log_period: int = 10
    eval_period: int = 0
    checkpoint_period: int = 0
    keep_checkpoints: int = 1

    def __post_init__(self):
        losses.check_normalizing(self.loss_normalizing_factor)
        _ = self.objective  # raises where its constants are out of range
        least = {
            "train_steps": 0,
            "microbatches": 1,
            "log_period": 1,
            "keep_checkpoints": 1,
            "eval_period": 0,
            "checkpoint_period": 0,
            "random_seed": 0,
        }
        for name, minimum in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < minimum:
                raise UserError(
                    f"{name.upper()} is {value!r}, wanted a whole number of at least {minimum}"
                )
        self.make_optimizer()
        if not 0.0 <= self.on_policy_share <= 1.0:
            raise UserError(f"ON_POLICY_SHARE is {self.on_policy_share}, wanted 0 to 1")

    @property
    def objective(self) -> Objective:
        """What a target token costs."""
        return Objective(
            loss=self.loss,
            z_loss=self.z_loss,
            label_smoothing=self.label_smoothing,
            soft_weight=self.soft_weight,
            temperature=self.soft_temperature,
            missing_mass=self.missing_mass,
            beta=self.jsd_beta,
        )

    def make_schedule(self) -> optax.Schedule:
        """Return the learning rate as a function of finished updates."""
        return optimizers.make_schedule(
            self.schedule,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            train_steps=self.train_steps,
        )

    def make_optimizer(self) -> optax.GradientTransformation:
        """Return the optimizer with its schedule."""
        return optimizers.make_optimizer(self.optimizer, self.make_schedule())
