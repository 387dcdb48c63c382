"""How many operations a T5 network needs by its shape: what compiled programs are held against.

Counted are matrix products, two operations for a product and its sum (Hoffmann et al. 2022,
appendix F, for one stack; here for encoder, decoder and cross-attention).
"""

from __future__ import annotations

from t5distill.student.config import T5Config


def parameters(config: T5Config) -> dict[str, int]:
    """Return the number of parameters, by part; `total` is their sum."""
    inner = config.num_heads * config.head_dim
    attention = 4 * config.emb_dim * inner
    mlp = (1 + len(config.mlp_activations)) * config.emb_dim * config.mlp_dim
    position = config.num_heads * config.relative_attention_num_buckets
    emb = config.emb_dim
    parts = {
        "embedding": config.vocab_size * emb,
        "encoder": config.num_encoder_layers * (attention + mlp + 2 * emb) + emb + position,
        "decoder": config.num_decoder_layers * (2 * attention + mlp + 3 * emb) + emb + position,
        "output": 0 if config.logits_via_embedding else config.vocab_size * emb,
    }
    return {**parts, "total": sum(parts.values())}


def forward_flops(config: T5Config, batch: int, inputs: int, targets: int) -> tuple[float, float]:
    """Return the operations of the layers and of the output projection, teacher-forced."""
    emb, inner = config.emb_dim, config.num_heads * config.head_dim
    mlp = (1 + len(config.mlp_activations)) * emb * config.mlp_dim
    encoder = 2 * inputs * (4 * emb * inner + mlp) + 4 * inputs * inputs * inner
    decoder = (
        2 * targets * (6 * emb * inner + mlp)
        + 2 * inputs * 2 * emb * inner
        + 4 * targets * (targets + inputs) * inner
    )
    layers = config.num_encoder_layers * encoder + config.num_decoder_layers * decoder
    return float(batch * layers), float(batch * 2 * targets * emb * config.vocab_size)


def training_flops(config: T5Config, batch: int, inputs: int, targets: int) -> float:
    """Return the operations of one update: forward, twice as many backward, remat's once more.

    What remat computes again leaves out each layer's last product, which no gradient needs.
    """
    layers, output = forward_flops(config, batch, inputs, targets)
    if config.remat != "full":
        return 3 * (layers + output)
    tokens = config.num_encoder_layers * inputs + config.num_decoder_layers * targets
    last = 2.0 * batch * tokens * config.emb_dim * config.mlp_dim
    return 4 * layers - last + 3 * output


def token_flops(config: T5Config, rows: int, keys: int, inputs: int) -> float:
    """Return the operations of decoding a token in each of `rows`, with `keys` cached positions."""
    emb, inner = config.emb_dim, config.num_heads * config.head_dim
    mlp = (1 + len(config.mlp_activations)) * emb * config.mlp_dim
    layer = 2 * (6 * emb * inner + mlp) + 4 * (keys + inputs) * inner
    return float(rows * (config.num_decoder_layers * layer + 2 * emb * config.vocab_size))
