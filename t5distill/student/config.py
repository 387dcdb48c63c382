"""The shape of a T5 student."""

from __future__ import annotations

import dataclasses
from typing import Any

from t5distill.errors import UserError

DTYPES = ("float32", "bfloat16")
REMAT = ("none", "full")


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5Config:
    """Sizes and choices of one T5 network; the defaults are those of T5 1.1 small.

    Attributes:
      vocab_size: rows of the embedding, padding rows included (32,128 for T5, 384 for ByT5).
      emb_dim: width of the residual stream.
      num_heads: attention heads.
      head_dim: width of one head; T5 does not tie it to `emb_dim / num_heads`.
      mlp_dim: hidden width of the feed-forward block.
      num_encoder_layers: encoder depth.
      num_decoder_layers: decoder depth; ByT5 and mT5 differ from the encoder's.
      mlp_activations: `("relu",)` for T5 1.0, `("gelu", "linear")` for the gated families.
      logits_via_embedding: T5 1.0 ties the output to the embedding and scales by emb_dim ** -0.5.
      dropout_rate: share dropped at each site while training.
      relative_attention_num_buckets: rows of the relative position table.
      relative_attention_max_distance: distance from which positions share the last bucket.
      dtype: dtype of activations; parameters are float32.
      remat: `full` recomputes each layer in the backward pass, for less memory.
    """

    vocab_size: int = 32128
    emb_dim: int = 512
    num_heads: int = 6
    head_dim: int = 64
    mlp_dim: int = 1024
    num_encoder_layers: int = 8
    num_decoder_layers: int = 8
    mlp_activations: tuple[str, ...] = ("gelu", "linear")
    logits_via_embedding: bool = False
    dropout_rate: float = 0.0
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dtype: str = "float32"
    remat: str = "none"

    def __post_init__(self):
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        for name in ("vocab_size", "emb_dim", "num_heads", "head_dim", "mlp_dim"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, wanted at least 1")
        if self.mlp_activations not in (("relu",), ("gelu", "linear"), ("relu", "linear")):
            raise UserError(
                f"MLP_ACTIVATIONS is {self.mlp_activations}, wanted ('relu',) as in T5 1.0 or "
                "('gelu', 'linear') as in T5 1.1, Flan-T5, ByT5 and mT5"
            )
        if self.dtype not in DTYPES:
            raise UserError(f"DTYPE is {self.dtype!r}, wanted one of {', '.join(DTYPES)}")
        if self.remat not in REMAT:
            raise UserError(f"REMAT is {self.remat!r}, wanted one of {', '.join(REMAT)}")
        if not 0.0 <= self.dropout_rate < 1.0:
            raise UserError(f"DROPOUT_RATE is {self.dropout_rate}, wanted a number in [0, 1)")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {**dataclasses.asdict(self), "mlp_activations": list(self.mlp_activations)}
