"""What a target token costs a student, given its logits: one function for both engines.

With logits x and log Z = logsumexp(x), a token with target t costs

    hard = log Z - sum_v y_v x_v - entropy(y)

where y puts 1 - label_smoothing on t and spreads the rest evenly over the other entries (the
constant and the z-loss are T5X's, so that losses compare). Where a teacher says what else might
stand there (P, over the vocabulary), and the loss is a divergence D, it costs

    total = (1 - soft_weight) hard + soft_weight T^2 D(P_T, Q_T) + z_loss (log Z)^2

with Q_T = softmax(x / T) and P_T likewise softened; T^2 keeps the gradient's size (Hinton et al.
2015, section 2). A token without a soft target costs `hard` whole: the divergence of an unsmoothed
one-hot target is the cross-entropy.

P comes in two forms. A white-box teacher gives its own logits. A teacher behind an API gives its k
likeliest tokens, of mass M <= 1, and MISSING_MASS says what becomes of the rest:

    drop          P is as it was given and adds up to M (Fu et al. 2023). Forward KL only.
    renormalise   P / M.
    tail          1 - M, or 2^-12 where that is more, is spread evenly over the other tokens.

The reverse KL of the first two would be infinite. With the forward KL neither P nor Q is ever laid
out over the vocabulary: the sum over v runs over the k entries, and the tail's share over all of
x at once.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5distill.errors import UserError, suggest
from t5distill.student.divergences import DIVERGENCES, divergence

LOSSES = ("cross_entropy", *DIVERGENCES)
MISSING_MASS = ("drop", "renormalise", "tail")
# The share of the other tokens under `tail`, at least: the step in which probabilities are kept.
LEAST_TAIL = 2.0**-12
_MAY_LACK_MASS = {
    "forward_kl": MISSING_MASS,
    "reverse_kl": ("tail",),
    "jensen_shannon": ("renormalise", "tail"),
    "total_variation": ("renormalise", "tail"),
}


class Soft(NamedTuple):
    """The k likeliest tokens of a teacher, likeliest first.

    Attributes:
      ids: int32 `[..., k]`.
      probabilities: float32 `[..., k]`, 0 where there is no entry; all 0 where there is no soft
        target.
    """

    ids: jax.Array
    probabilities: jax.Array


class Target(NamedTuple):
    """What logits `[..., vocab]` are compared with.

    Attributes:
      tokens: int32 `[...]`.
      soft: what a teacher said, or None.
      teacher: a teacher's logits, float32 `[..., vocab]`, in place of `soft`, or None.
    """

    tokens: jax.Array
    soft: Soft | None = None
    teacher: jax.Array | None = None


class Costs(NamedTuple):
    """What each token costs, float32 `[...]` nats; the last five where a teacher speaks, or None.

    Attributes:
      loss: the total.
      correct: 1 where the target has the greatest logit (ties count).
      hard: cross-entropy with the target.
      soft: the divergence from the teacher, times T^2.
      softened: 1 where there is a soft target.
      entropy: of the teacher.
      agreement: 1 where the teacher's likeliest token has the student's greatest logit.
    """

    loss: jax.Array
    correct: jax.Array
    hard: jax.Array | None = None
    soft: jax.Array | None = None
    softened: jax.Array | None = None
    entropy: jax.Array | None = None
    agreement: jax.Array | None = None


class _Student(NamedTuple):
    """Logits `[..., vocab]` with their greatest and log Z, `[...]`."""

    logits: jax.Array
    greatest: jax.Array
    log_z: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """The module's formula with its constants; each is a macro of a recipe.

    Attributes:
      loss: `cross_entropy`, or a name of `divergences.DIVERGENCES`.
      z_loss: coefficient of (log Z)^2.
      label_smoothing: probability taken from the target token.
      soft_weight: share of the divergence, between 0 and 1.
      temperature: T.
      missing_mass: a name of `MISSING_MASS`.
      beta: of `jensen_shannon`.
    """

    loss: str = "cross_entropy"
    z_loss: float = 0.0
    label_smoothing: float = 0.0
    soft_weight: float = 1.0
    temperature: float = 1.0
    missing_mass: str = "drop"
    beta: float = 0.5

    def __post_init__(self):
        if self.loss not in LOSSES:
            raise UserError(f"LOSS is {self.loss!r}; {suggest(self.loss, LOSSES)}")
        if self.missing_mass not in MISSING_MASS:
            raise UserError(
                f"MISSING_MASS is {self.missing_mass!r}; {suggest(self.missing_mass, MISSING_MASS)}"
            )
        for name in ("soft_weight", "beta"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"{name.upper()} is {getattr(self, name)}, wanted 0 to 1")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UserError(
                f"LABEL_SMOOTHING is {self.label_smoothing}, wanted at least 0 and less than 1"
            )
        if not (self.temperature > 0.0 and math.isfinite(self.temperature)):
            raise UserError(f"SOFT_TEMPERATURE is {self.temperature}, wanted more than 0")

    def check_listed(self) -> None:
        """Raise UserError where this divergence needs more than a teacher's k likeliest tokens."""
        limits = {0.0: "forward_kl", 1.0: "reverse_kl"}
        meant = limits.get(self.beta, self.loss) if self.loss == "jensen_shannon" else self.loss
        allowed = _MAY_LACK_MASS.get(meant)
        if allowed and self.missing_mass not in allowed:
            raise UserError(
                f"LOSS '{self.loss}' with MISSING_MASS '{self.missing_mass}': the likeliest tokens "
                f"are no whole distribution; wanted MISSING_MASS {' or '.join(allowed)}"
            )

    @property
    def is_soft(self) -> bool:
        """Whether a teacher's distribution is asked for."""
        return self.loss != "cross_entropy"

    def costs(self, logits: jax.Array, target: Target) -> Costs:
        """Return what tokens cost; differentiable in `logits`, float32 `[..., vocab]`."""
        greatest = jax.lax.stop_gradient(jnp.max(logits, axis=-1))
        log_z = jnp.log(jnp.sum(jnp.exp(logits - greatest[..., None]), axis=-1)) + greatest
        student = _Student(logits, greatest, log_z)
        # A comparison and a sum, not a gather: they stay local where devices share the vocabulary.
        axis = logits.ndim - 1
        hit = jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis) == target.tokens[..., None]
        of_target = jnp.sum(jnp.where(hit, logits, 0.0), axis=-1)
        hard = self._hard(student, of_target)
        correct = (of_target >= greatest).astype(jnp.float32)
        regular = self.z_loss * jnp.square(log_z)
        if not self.is_soft:
            return Costs(hard + regular, correct)
        if target.teacher is not None:
            soft, entropy, agrees = self._against_logits(student, target.teacher)
            softened = jnp.ones_like(hard)
        else:
            assert target.soft is not None
            soft, entropy, agrees = self._against_listed(student, target.soft)
            softened = (target.soft.probabilities[..., 0] > 0).astype(jnp.float32)
        mixed = (1.0 - self.soft_weight) * hard + self.soft_weight * soft
        total = jnp.where(softened > 0, mixed, hard) + regular
        return Costs(
            total, correct, hard, soft * softened, softened, entropy * softened, agrees * softened
        )

    def _hard(self, student: _Student, of_target: jax.Array) -> jax.Array:
        """Return the cross-entropy with the smoothed target, less that target's entropy."""
        smoothing = self.label_smoothing
        if not smoothing:
            return student.log_z - of_target
        vocab = student.logits.shape[-1]
        on, off = 1.0 - smoothing, smoothing / (vocab - 1)
        entropy = -(on * math.log(on) + (vocab - 1) * off * math.log(off + 1e-20))
        spread = off * (vocab * of_target - jnp.sum(student.logits, axis=-1))
        return student.log_z - of_target + spread - entropy

    def _against_logits(
        self, student: _Student, teacher: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the divergence from a white-box teacher, its entropy, and where they agree."""
        log_p = jax.nn.log_softmax(jax.lax.stop_gradient(teacher) / self.temperature)
        log_q = jax.nn.log_softmax(student.logits / self.temperature)
        entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
        agrees = jnp.argmax(teacher, axis=-1) == jnp.argmax(student.logits, axis=-1)
        apart = divergence(self.loss, log_p, log_q, beta=self.beta)
        return self.temperature**2 * apart, entropy, agrees.astype(jnp.float32)

    def _against_listed(
        self, student: _Student, soft: Soft
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the divergence from k likeliest tokens, their entropy, and where both agree."""
        logits, t = student.logits, self.temperature
        given = soft.probabilities > 0
        left = jnp.maximum(logits.shape[-1] - jnp.sum(given, axis=-1), 1)
        log_p, log_others = self._softened(soft.probabilities, left)
        p, others = jnp.where(given, jnp.exp(log_p), 0.0), jnp.exp(log_others)
        of_entries = jnp.take_along_axis(logits, soft.ids, axis=-1)
        agrees = (of_entries[..., 0] >= student.greatest).astype(jnp.float32)
        tail = self.missing_mass == "tail"
        entropy = -jnp.sum(p * log_p, axis=-1)
        if tail:
            entropy -= left * others * log_others
        if self.loss == "forward_kl":
            log_z = student.log_z if t == 1.0 else jax.nn.logsumexp(logits / t, axis=-1)
            mass = jnp.sum(p, axis=-1) + left * others * tail
            cross = mass * log_z - jnp.sum(p * of_entries, axis=-1) / t
            if tail:
                rest = jnp.sum(logits, axis=-1) - jnp.sum(jnp.where(given, of_entries, 0.0), -1)
                cross -= others * rest / t
            apart = cross - entropy
        else:
            # Only here, and only for the tokens at hand, is P laid out over the vocabulary.
            everywhere = log_others if tail else jnp.full_like(log_others, -jnp.inf)
            dense = jnp.broadcast_to(everywhere[..., None], logits.shape)
            place = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
            for j in range(soft.ids.shape[-1]):
                here = (place == soft.ids[..., j : j + 1]) & given[..., j : j + 1]
                dense = jnp.where(here, log_p[..., j : j + 1], dense)
            log_q = jax.nn.log_softmax(logits / t)
            # A token without a soft target has no P at all: any distribution stands in for it.
            dense = jnp.where(given[..., :1], dense, jax.lax.stop_gradient(log_q))
            apart = divergence(self.loss, dense, log_q, beta=self.beta)
        return t**2 * apart, entropy, agrees

    def _softened(self, p: jax.Array, left: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return log P_T of the k entries `[..., k]`, and of each other token `[...]`.

        In logarithms: at low temperatures what is unlikely would be 0. Where there is no entry, and
        of other tokens where there is no tail, the values mean nothing, but are finite.
        """
        given = p > 0
        mass = jnp.sum(p, axis=-1)
        tail = self.missing_mass == "tail"
        kept = mass
        if self.missing_mass == "renormalise":
            kept = jnp.ones_like(mass)
        elif tail:
            # Probabilities are known to a few digits: something is always left for the others.
            kept = jnp.minimum(mass, 1.0 - LEAST_TAIL)
        known = mass > 0
        scale = jnp.where(known, kept, 1.0) / jnp.where(known, mass, 1.0)
        log_p = jnp.log(jnp.where(given, p, 1.0)) + jnp.log(scale)[..., None]
        log_others = jnp.log((1.0 - kept if tail else jnp.ones_like(mass)) / left)
        if self.temperature == 1.0:
            return log_p, log_others
        log_p, log_others = log_p / self.temperature, log_others / self.temperature
        whole = jax.nn.logsumexp(jnp.where(given, log_p, -jnp.inf), axis=-1)
        if tail:
            whole = jnp.logaddexp(whole, jnp.log(left) + log_others)
        wanted = jnp.log(jnp.where(known & ~jnp.asarray(tail), kept, 1.0))
        shift = jnp.where(known, wanted - jnp.where(known, whole, 0.0), 0.0)
        return log_p + shift[..., None], log_others + shift
