"""T5X's encoder-decoder model with the losses of t5distill's own engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import clu.metrics
import jax
from t5x import losses as t5x_losses
from t5x import models

from t5distill.errors import UserError
from t5distill.student import losses
from t5distill.student.objective import Objective, Target


class SoftModel(models.EncoderDecoderModel):
    """T5X's model, trained against a teacher's likeliest tokens.

    The cost of a token is `student.objective.Objective`, as on the own engine; T5X's logits are
    whole. Evaluation is T5X's: cross-entropy, dropout off.
    """

    def __init__(self, *args: Any, objective: Objective, **fields: Any):
        """Take what T5X's model takes, and the objective."""
        super().__init__(*args, **fields)
        self._objective = objective

    def loss_fn(
        self, params: Any, batch: Mapping[str, jax.Array], dropout_rng: jax.Array | None
    ) -> tuple[jax.Array, Mapping[str, Any]]:
        """Return the loss of a batch and its metrics; see the base class.

        Raises:
          UserError: the task has no soft labels.
        """
        if dropout_rng is None:
            return super().loss_fn(params, batch, dropout_rng)
        if losses.SOFT_IDS not in batch:
            raise UserError(
                f"LOSS '{self._objective.loss}' compares with a teacher, but the task has no soft "
                "labels; take one of a soft style, e.g. gsm8k_cot_soft_TEACHER"
            )
        logits = self._compute_logits(params, batch, dropout_rng)
        factor, weights = t5x_losses.get_loss_normalizing_factor_and_weights(
            self._loss_normalizing_factor, batch
        )
        rows = losses.batch_rows(dict(batch), None)
        weights = rows.weights if weights is None else weights
        target = Target(rows.tokens, rows.soft)
        sums = losses.total(self._objective.costs(logits.astype("float32"), target), weights)
        loss = sums.loss if factor is None else sums.loss / factor
        metrics = self._compute_metrics(
            logits=logits, targets=rows.tokens, mask=weights, loss=loss, segment_ids=_packed(batch)
        )
        of_teacher = {
            name: clu.metrics.Average(total=x, count=n)
            for name, (x, n) in sums.of_teacher().items()
        }
        return loss, {**metrics, **of_teacher}


def _packed(batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Return the segments of a packed batch, or what is no padding, as T5X's metrics want them."""
    end = "_segment_ids"
    segments = {k.removesuffix(end): v for k, v in batch.items() if k.endswith(end)}
    names = ("encoder_input_tokens", "decoder_target_tokens")
    return segments or {name: batch[name] != 0 for name in names}
