"""On-policy distillation: some batches hold what the student itself writes.

A student that has only seen a teacher's text errs on its own text, where nobody has shown it how to
go on. Agarwal et al. 2023 (GKD, algorithm 1) take a share lambda of the updates on texts that the
student samples for the batch's inputs, at temperature 1; a white-box teacher says at each of their
tokens what it would have written. With lambda 0 this is supervised distillation. The gradient does
not go through the sampling.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from t5distill.errors import UserError
from t5distill.student import sharding
from t5distill.student.config import T5Config
from t5distill.student.decoding import generate_tokens
from t5distill.student.slots import EOS

Batch = dict[str, np.ndarray]
_TEMPERATURE = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnPolicy:
    """Writes targets with the student, in a share of the updates that a seed decides.

    Attributes:
      config: the student's shape.
      share: lambda.
      seed: of which updates, and of what is sampled. A run that resumes draws the same again.
      mesh: the devices.
    """

    config: T5Config
    share: float
    seed: int
    mesh: Mesh

    def __call__(self, params: Any, step: int, batch: Batch) -> Batch | None:
        """Return the batch with the student's own targets, or None where it is not their turn.

        Args:
          params: the student's.
          step: updates done so far.
          batch: one example a row; this process's rows.

        Raises:
          UserError: rows are packed.
        """
        draw = np.random.default_rng((self.seed, step))
        if draw.random() >= self.share:
            return None
        if "encoder_segment_ids" in batch:
            raise UserError(
                "ON_POLICY_SHARE needs rows of one example, which the student continues; wanted "
                "PACK = False"
            )
        inputs, length = batch["encoder_input_tokens"], batch["decoder_target_tokens"].shape[1]
        everyone, own = _gathered(inputs, self.mesh)
        outputs = generate_tokens(
            params,
            self.config,
            # A row of padding fills up a batch; whatever is written for it weighs nothing.
            [row[row > 0].tolist() or [EOS] for row in everyone],
            max_tokens=length,
            temperature=_TEMPERATURE,
            seed=int(draw.integers(2**31)),
            mesh=self.mesh if self.mesh.size > 1 else None,
        )
        targets, weights = np.zeros((2, len(inputs), length), np.int32)
        for row, place in enumerate(own):
            [output] = outputs[place]
            written = [*output.tokens, EOS] if output.finished else output.tokens
            targets[row, : len(written)] = written
            weights[row, : len(written)] = inputs[row].any()
        return {
            "encoder_input_tokens": inputs,
            "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
            "decoder_target_tokens": targets,
            "decoder_loss_weights": weights,
        }


def _gathered(rows: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, range]:
    """Return the rows of all processes, of which each decodes its part, and which are this one's.

    Decoding is one program of all devices: every process has to know every input.
    """
    if jax.process_count() == 1:
        return rows, range(len(rows))
    share, shares = sharding.data_layout(mesh)
    held = np.asarray(multihost_utils.process_allgather(np.asarray(share))).reshape(-1).tolist()
    found = np.asarray(multihost_utils.process_allgather(rows))
    everyone = np.concatenate([found[held.index(i)] for i in range(shares)])
    return everyone, range(share * len(rows), (share + 1) * len(rows))
