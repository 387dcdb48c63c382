"""A trained tiny student inside the shape of a larger network: its texts at that one's price."""

from __future__ import annotations

import jax
import numpy as np

from t5distill import Student
from t5distill.student.config import T5Config
from t5distill.student.network import abstract_model, parameters

NETWORKS = ("as_trained", "t5_1_1_small")


def shaped(student: Student, network: str) -> Student:
    """Return a student as it is, or in the shape of T5 1.1 small; `network` is of `NETWORKS`."""
    if network == "as_trained":
        return student
    config = T5Config(relative_attention_num_buckets=32, dtype=student.config.dtype)
    return enlarged(student, config)


def enlarged(student: Student, config: T5Config) -> Student:
    """Return a student of the shape `config` that writes what `student` writes."""
    small = student.config
    wide = parameters(abstract_model(config))
    whole = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), wide)

    def heads(x: np.ndarray, axis: int) -> np.ndarray:
        """Split the axis of all heads' dimensions into heads and dimensions."""
        shape = [*x.shape]
        shape[axis : axis + 1] = [small.num_heads, small.head_dim]
        return x.reshape(shape)

    def put(into: np.ndarray, path: tuple[str, ...], x: np.ndarray) -> None:
        if path[-2] in ("query", "key", "value"):
            place = into.reshape(config.emb_dim, config.num_heads, config.head_dim)
            place[: small.emb_dim, : small.num_heads, : small.head_dim] = heads(x, 1)
        elif path[-2] == "out":
            place = into.reshape(config.num_heads, config.head_dim, config.emb_dim)
            place[: small.num_heads, : small.head_dim, : small.emb_dim] = heads(x, 0)
        else:
            into[tuple(slice(n) for n in x.shape)] = x
            if path[-1] == "scale":
                # The mean of squares is over more dimensions, most of them zero.
                into *= (small.emb_dim / config.emb_dim) ** 0.5

    for keys, x in jax.tree_util.tree_flatten_with_path(student.params)[0]:
        path = tuple(key.key for key in keys)
        into = whole
        for name in path:
            into = into[name]
        put(into, path, np.asarray(x))
    embedding = whole["token_embedder"]["embedding"]
    # A dimension that is small and positive everywhere keeps the further tokens unlikely.
    embedding[:, -1] = 1e-3
    whole["decoder"]["decoder_norm"]["scale"][-1] = 1.0
    output = whole["decoder"]["logits_dense"]["kernel"]
    output[:] = embedding.T * small.emb_dim**-0.5
    output[-1] = 0.0
    output[-1, small.vocab_size :] = -1e7
    return Student(whole, config, vocabulary=student.vocabulary, style=student.style)
