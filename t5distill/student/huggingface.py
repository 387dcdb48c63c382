"""The map between this project's parameter tree (T5X's names) and Hugging Face's T5 weights.

T5X keeps kernels as `[inputs, outputs]`, PyTorch as `[outputs, inputs]`; the relative position
table is `[heads, buckets]` here and `[buckets, heads]` there; the embedding is `[vocab, emb]` in
both.

Whether the output shares the embedding is less plain than it looks. transformers 4 read it from
`tie_word_embeddings`. transformers 5 writes `true` there whatever the file said, and keeps the fact
that matters, the scaling by emb_dim ** -0.5, in `scale_decoder_outputs` (T5) or drops it (mT5,
which is never scaled). So the scaling decides here: where it is absent the network has an output
matrix of its own, and if the file holds no `lm_head.weight`, that matrix is the embedding's
transpose.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from t5distill.errors import UserError
from t5distill.student.config import T5Config
from t5distill.student.safetensors import open_directory
from t5distill.student.stored import ParameterPath, Stored

_EMBEDDING = "shared.weight"
_OUTPUT = "lm_head.weight"
_OUTPUT_PATH = ("decoder", "logits_dense", "kernel")
_TURNED = ("kernel", "rel_embedding")
_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}
_FEED_FORWARD = {
    "relu": ("relu",),
    "gated-gelu": ("gelu", "linear"),
    "gated-relu": ("relu", "linear"),
}
_SIZES = {
    "vocab_size": "vocab_size",
    "emb_dim": "d_model",
    "num_heads": "num_heads",
    "head_dim": "d_kv",
    "mlp_dim": "d_ff",
    "num_encoder_layers": "num_layers",
}


def config_from_huggingface(config: Mapping[str, Any]) -> T5Config:
    """Translate the content of a Hugging Face `config.json` of T5, Flan-T5, ByT5 or mT5.

    Raises:
      UserError: it is another kind of network, or a size is missing.
    """
    kind = config.get("model_type", "t5")
    if kind not in ("t5", "mt5"):
        raise UserError(f"model_type is {kind!r}, wanted 't5' or 'mt5'")
    missing = [name for name in _SIZES.values() if not isinstance(config.get(name), int)]
    if missing:
        raise UserError(f"config.json lacks the number {missing[0]}; is this a T5 network?")
    feed_forward = config.get("feed_forward_proj", "relu" if kind == "t5" else "gated-gelu")
    if feed_forward not in _FEED_FORWARD:
        raise UserError(
            f"feed_forward_proj is {feed_forward!r}, wanted one of {', '.join(_FEED_FORWARD)}"
        )
    for name, wanted in (
        ("layer_norm_epsilon", 1e-6),
        ("pad_token_id", 0),
        ("eos_token_id", 1),
        ("decoder_start_token_id", 0),
    ):
        if (found := config.get(name)) not in (None, wanted):
            raise UserError(f"{name} is {found}, wanted {wanted} as in every published T5")
    scaled = kind == "t5" and config.get("tie_word_embeddings") is not False
    if config.get("scale_decoder_outputs") is not None:
        scaled = bool(config["scale_decoder_outputs"])
    sizes = {ours: config[theirs] for ours, theirs in _SIZES.items()}
    return T5Config(
        **sizes,
        num_decoder_layers=config.get("num_decoder_layers") or config["num_layers"],
        mlp_activations=_FEED_FORWARD[feed_forward],
        logits_via_embedding=scaled,
        dropout_rate=config.get("dropout_rate", 0.1),
        relative_attention_num_buckets=config.get("relative_attention_num_buckets", 32),
        relative_attention_max_distance=config.get("relative_attention_max_distance", 128),
    )


def config_to_huggingface(config: T5Config) -> dict[str, Any]:
    """Return the `config.json` under which transformers (4 and 5) computes the same logits."""
    activations = {v: k for k, v in _FEED_FORWARD.items()}
    return {
        **{theirs: getattr(config, ours) for ours, theirs in _SIZES.items()},
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "num_decoder_layers": config.num_decoder_layers,
        "feed_forward_proj": activations[config.mlp_activations],
        "tie_word_embeddings": config.logits_via_embedding,
        "scale_decoder_outputs": config.logits_via_embedding,
        "dropout_rate": config.dropout_rate,
        "relative_attention_num_buckets": config.relative_attention_num_buckets,
        "relative_attention_max_distance": config.relative_attention_max_distance,
        "layer_norm_epsilon": 1e-6,
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }


def _attention(path: ParameterPath, name: str) -> Iterator[tuple[ParameterPath, str]]:
    for ours, theirs in _PROJECTIONS.items():
        yield (*path, ours, "kernel"), f"{name}.{theirs}.weight"


def _stack(config: T5Config, stack: str) -> Iterator[tuple[ParameterPath, str]]:
    """Yield the names of the encoder or the decoder."""
    decoder = stack == "decoder"
    # Of each layer's parts, in Hugging Face's order: norm, attention, its name there.
    parts = [("pre_attention_layer_norm", "attention", "SelfAttention")]
    if decoder:
        parts = [
            ("pre_self_attention_layer_norm", "self_attention", "SelfAttention"),
            ("pre_cross_attention_layer_norm", "encoder_decoder_attention", "EncDecAttention"),
        ]
    gated = len(config.mlp_activations) == 2
    yield (
        (stack, "relpos_bias", "rel_embedding"),
        f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    )
    for i in range(config.num_decoder_layers if decoder else config.num_encoder_layers):
        path, block = (stack, f"layers_{i}"), f"{stack}.block.{i}.layer"
        for j, (norm, attention, theirs) in enumerate(parts):
            yield (*path, norm, "scale"), f"{block}.{j}.layer_norm.weight"
            yield from _attention((*path, attention), f"{block}.{j}.{theirs}")
        last = f"{block}.{len(parts)}"
        yield (*path, "pre_mlp_layer_norm", "scale"), f"{last}.layer_norm.weight"
        for kernel in (*(("wi_0", "wi_1") if gated else ("wi",)), "wo"):
            yield (*path, "mlp", kernel, "kernel"), f"{last}.DenseReluDense.{kernel}.weight"
    yield (stack, f"{stack}_norm", "scale"), f"{stack}.final_layer_norm.weight"


def name_map(config: T5Config) -> dict[ParameterPath, str]:
    """Return Hugging Face's name of every parameter, by its path in our tree."""
    names: dict[ParameterPath, str] = {("token_embedder", "embedding"): _EMBEDDING}
    names.update(_stack(config, "encoder"))
    names.update(_stack(config, "decoder"))
    if not config.logits_via_embedding:
        names[_OUTPUT_PATH] = _OUTPUT
    return names


def turned(path: ParameterPath, array: np.ndarray) -> np.ndarray:
    """Transpose kernels and position tables; the map is its own inverse."""
    return array.T if path[-1] in _TURNED else array


def turned_shape(path: ParameterPath, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of `turned(path, array)` for an array of a shape."""
    return shape[::-1] if path[-1] in _TURNED else shape


def _shape(path: ParameterPath, config: T5Config) -> tuple[int, ...]:
    """Return the shape in our tree of the parameter at `path`."""
    joined = config.num_heads * config.head_dim
    if path[-1] == "scale":
        return (config.emb_dim,)
    if path[-1] == "rel_embedding":
        return (config.num_heads, config.relative_attention_num_buckets)
    if path[-1] == "embedding":
        return (config.vocab_size, config.emb_dim)
    module = path[-2]
    if module == "out":
        return (joined, config.emb_dim)
    if module == "wo":
        return (config.mlp_dim, config.emb_dim)
    if module == "logits_dense":
        return (config.emb_dim, config.vocab_size)
    return (config.emb_dim, joined if module in _PROJECTIONS else config.mlp_dim)


def _by_path(state: Mapping[str, Stored], config: T5Config) -> dict[ParameterPath, Stored]:
    """Return every array as our tree has it, unread.

    Raises:
      UserError: an array is missing, has another shape, or belongs to no part of this network.
    """
    names = name_map(config)
    if _OUTPUT not in state and _EMBEDDING in state:
        state = {**state, _OUTPUT: state[_EMBEDDING]}
    known = {*names.values(), _OUTPUT, "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    # An unused table that early Hugging Face conversions of T5 carry along.
    known.add("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight")
    foreign = sorted(set(state) - known)
    found: dict[ParameterPath, Stored] = {}
    for path, name in names.items():
        if name not in state:
            also = f"; unexpected in them: {', '.join(foreign[:3])}" if foreign else ""
            raise UserError(f"the weights lack the array {name}{also}")
        wanted = turned_shape(path, _shape(path, config))
        if state[name].shape != wanted:
            shape = state[name].shape
            raise UserError(f"array {name} has shape {shape}, config.json wants {wanted}")
        found[path] = turned_around(path, state[name])
    if foreign:
        raise UserError(
            f"the weights hold {len(foreign)} arrays that config.json does not announce, "
            f"e.g. {foreign[0]} {state[foreign[0]].shape}; do the two files belong together?"
        )
    return found


def turned_around(path: ParameterPath, array: Stored) -> Stored:
    """Return what `array` is in the other of the two trees."""

    def values(index: Any) -> np.ndarray:
        if path[-1] not in _TURNED or index is ...:
            return turned(path, array.read(index))
        return array.read(tuple(reversed(index))).T

    return Stored(array.name, turned_shape(path, array.shape), array.dtype, values)


def from_huggingface(state: Mapping[str, np.ndarray], config: T5Config) -> dict[str, Any]:
    """Build our parameter tree, float32 numpy arrays, from a Hugging Face state dict.

    Args:
      state: Hugging Face's arrays by name; copies of the embedding under other names are ignored.
      config: the network's shape, e.g. of `config_from_huggingface`.

    Raises:
      UserError: an array is missing, has another shape, or belongs to no part of this network.
    """
    held = {n: Stored(n, x.shape, x.dtype, x.__getitem__) for n, x in state.items()}
    found = _by_path(held, config)
    return unflatten_dict({p: np.ascontiguousarray(x.read(), np.float32) for p, x in found.items()})


def to_huggingface(params: Mapping[str, Any], config: T5Config) -> dict[str, np.ndarray]:
    """Return the Hugging Face state dict, contiguous float32 arrays, of our parameter tree."""
    held = flatten_dict(dict(params))
    return {
        name: np.ascontiguousarray(turned(path, np.asarray(held[path])), np.float32)
        for path, name in name_map(config).items()
    }


def open_huggingface(
    path: str | os.PathLike[str], config: Mapping[str, Any]
) -> tuple[T5Config, dict[ParameterPath, Stored]]:
    """Read what a directory with (sharded) model.safetensors holds.

    Args:
      path: the directory.
      config: the content of its config.json.

    Returns:
      The network's shape and its parameters, unread.

    Raises:
      UserError: a file is missing or damaged, or the two do not fit each other.
    """
    state = open_directory(path)
    try:
        shape = config_from_huggingface(config)
        return shape, _by_path(state, shape)
    except UserError as e:
        raise UserError(f"{path}: {e}") from e
