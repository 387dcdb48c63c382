"""Optimizers and learning-rate schedules from literals, so that a recipe can name them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax.typing import ArrayLike

from t5distill.errors import UserError, suggest

OPTIMIZERS = ("adafactor", "adamw", "muon")
SCHEDULES = ("constant", "rsqrt", "linear", "cosine")


def make_schedule(
    name: str, *, learning_rate: float, warmup_steps: int = 0, train_steps: int
) -> optax.Schedule:
    """Return a function from the number of finished updates to the next one's learning rate.

    Every schedule rises linearly over `warmup_steps` updates to `learning_rate`, its peak. Then, at
    update t of T with warm-up W:

    - `constant`: stays there;
    - `rsqrt`: falls as sqrt(W / t), the decay of T5's pre-training (W at least 1);
    - `linear`: falls to 0 at T;
    - `cosine`: falls to 0 at T along half a period of the cosine.

    Args:
      name: one of `SCHEDULES`.
      learning_rate: the peak.
      warmup_steps: W.
      train_steps: T.

    Raises:
      UserError: an unknown name, or numbers that make no schedule.
    """
    if name not in SCHEDULES:
        raise UserError(f"SCHEDULE is {name!r}; {suggest(name, SCHEDULES)}")
    if learning_rate <= 0:
        raise UserError(f"LEARNING_RATE is {learning_rate}, wanted more than 0")
    if not 0 <= warmup_steps <= train_steps:
        raise UserError(
            f"WARMUP_STEPS is {warmup_steps}, wanted 0 to TRAIN_STEPS, which is {train_steps}; "
            "set it too, e.g. --gin.WARMUP_STEPS=0"
        )
    warmup = max(warmup_steps, 1)

    def schedule(count: ArrayLike) -> jax.Array:
        # Counted from 1, so that the first update of a warm-up already moves.
        t = jnp.asarray(count, jnp.float32) + 1.0
        rise = jnp.minimum(t / warmup, 1.0)
        left = jnp.clip((train_steps - t + 1) / max(train_steps - warmup_steps, 1), 0.0, 1.0)
        fall = {
            "constant": 1.0,
            "rsqrt": jnp.sqrt(warmup / jnp.maximum(t, warmup)),
            "linear": left,
            "cosine": 0.5 - 0.5 * jnp.cos(jnp.pi * left),
        }[name]
        return learning_rate * rise * fall

    return schedule


def make_optimizer(name: str, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Return an optimizer with the settings that T5 students are trained with.

    - `adafactor` (Shazeer and Stern 2018), as T5 and T5X set it: second moments factored where both
      of a matrix's sides have at least 128 entries, decay 1 - t^-0.8, updates clipped at
      root-mean-square 1.0, steps relative to the parameter's own scale, no momentum. A usual peak
      learning rate for fine-tuning is 1e-3.
    - `adamw` (Loshchilov and Hutter 2019): b1 0.9, b2 0.999, weight decay 0.01, gradients clipped
      at global norm 1.0. A usual peak learning rate is 1e-4 to 5e-4.
    - `muon` (Jordan et al. 2024), for students that start from random weights: the momentum of each
      matrix is made orthogonal before it is applied, the rest goes by AdamW (b2 0.98); weight decay
      0.01, gradients clipped at global norm 1.0. The quickstart's student learns about twice as
      much from an example as with `adamw`. A usual peak learning rate is 1e-2 to 2e-2.

    Args:
      name: one of `OPTIMIZERS`.
      schedule: as `make_schedule` returns.

    Raises:
      UserError: an unknown name.
    """
    if name == "adafactor":
        return optax.adafactor(
            learning_rate=schedule,
            min_dim_size_to_factor=128,
            decay_rate=0.8,
            clipping_threshold=1.0,
            multiply_by_parameter_scale=True,
            momentum=None,
            eps=1e-30,
            factored=True,
        )
    if name == "adamw":
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, b1=0.9, b2=0.999, weight_decay=0.01),
        )
    if name == "muon":
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.contrib.muon(schedule, adam_b2=0.98, weight_decay=0.01),
        )
    raise UserError(f"OPTIMIZER is {name!r}; {suggest(name, OPTIMIZERS)}")
