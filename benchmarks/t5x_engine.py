"""T5X as a contender: its own model, trainer and sampling on the same packed batches."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import seqio
from flax.core import freeze
from t5x import adafactor, models, partitioning, train_state, trainer
from t5x import decoding as t5x_decoding
from t5x.examples.t5 import network

from benchmarks.workload import Batch, Turn, Workload

DISTRIBUTIONS = ("t5x", "jax", "jaxlib", "flax")

_EOS = 1
# T5X's inputs have a fixed length, set by the task's feature lengths; the nearest multiple of this.
_WIDTH = 16


def axes(phase: str, workload: Workload) -> dict[str, list[Any]]:
    """Return the settings to try, by name; the first of each is where the sweep begins."""
    if phase == "training":
        return {"dtype": ["float32", "bfloat16"], "lengths": list(workload.packed)}
    return {"dtype": ["float32", "bfloat16"]}


def _model(workload: Workload, dtype: str) -> models.EncoderDecoderModel:
    config = workload.config
    module = network.Transformer(
        network.T5Config(
            vocab_size=config.vocab_size,
            dtype=jnp.dtype(dtype),
            emb_dim=config.emb_dim,
            num_heads=config.num_heads,
            num_encoder_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers,
            head_dim=config.head_dim,
            mlp_dim=config.mlp_dim,
            mlp_activations=config.mlp_activations,
            dropout_rate=config.dropout_rate,
            logits_via_embedding=config.logits_via_embedding,
        )
    )
    vocabulary = seqio.PassThroughVocabulary(config.vocab_size, eos_id=_EOS)
    return models.EncoderDecoderModel(
        module=module,
        input_vocabulary=vocabulary,
        output_vocabulary=vocabulary,
        optimizer_def=adafactor.Adafactor(
            decay_rate=0.8, logical_factor_rules=adafactor.standard_logical_factor_rules()
        ),
        decode_fn=functools.partial(t5x_decoding.temperature_sample, temperature=0.0),
        loss_normalizing_factor="NUM_REAL_TARGET_TOKENS",
    )


def training(workload: Workload, setting: dict[str, Any]) -> Callable[[], Turn]:
    """Compile the train step; return a turn of one update on the packed examples."""
    model = _model(workload, setting["dtype"])
    batch = workload.packed[setting["lengths"]]
    engine = make_trainer(model, workload.load_weights(), batch, lambda step: 1e-3)
    engine.compile_train(batch)

    def turn() -> Turn:
        started = time.perf_counter()
        metrics = engine.train(itertools.repeat(batch), 1).result()
        jax.block_until_ready(engine.train_state.params)
        seconds = time.perf_counter() - started
        loss = float(np.asarray(metrics["cross_ent_loss"].value))
        return Turn(seconds, workload.target_tokens, updates=1, loss=loss)

    return turn


def make_trainer(
    model: models.EncoderDecoderModel,
    weights: Any,
    batch: Batch,
    learning_rate_fn: Callable[[int], Any],
) -> trainer.Trainer:
    """Return T5X's trainer on one device, beginning with weights named as in T5X."""
    partitioner = partitioning.PjitPartitioner(num_partitions=1)
    shapes = {name: array.shape for name, array in batch.items()}
    types = {name: array.dtype for name, array in batch.items()}
    variables = model.get_initial_variables(jax.random.key(0), shapes, types)
    weights = jax.tree.map(jnp.asarray, freeze(weights))
    _check_same_tree(weights, variables["params"])
    state = train_state.FlaxOptimTrainState.create(
        model.optimizer_def, variables.copy({"params": weights})
    )
    return trainer.Trainer(
        model,
        train_state=state,
        partitioner=partitioner,
        eval_names=[],
        summary_dir=None,
        train_state_axes=partitioner.get_mesh_axes(state),
        rng=jax.random.key(0),
        learning_rate_fn=learning_rate_fn,
        num_microbatches=None,
    )


def _check_same_tree(ours: Any, theirs: Any) -> None:
    shapes = [jax.tree.map(lambda x: tuple(x.shape), freeze(tree)) for tree in (ours, theirs)]
    assert shapes[0] == shapes[1], "T5X's parameters have other names or shapes"


def decoding(workload: Workload, setting: dict[str, Any]) -> Callable[[], Turn]:
    """Compile by decoding once; return a turn that decodes all questions in one batch."""
    model = _model(workload, setting["dtype"])
    params = jax.device_put(freeze(workload.load_weights()))
    width = -(-max(len(prompt) for prompt in workload.prompts) // _WIDTH) * _WIDTH
    inputs = np.zeros((len(workload.prompts), width), np.int32)
    for row, prompt in zip(inputs, workload.prompts, strict=True):
        row[: len(prompt)] = prompt
    batch = {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.zeros((len(inputs), workload.max_new_tokens), np.int32),
    }
    predict = jax.jit(lambda params, batch: model.predict_batch(params, batch))

    def turn() -> Turn:
        started = time.perf_counter()
        found = np.asarray(predict(params, batch)).tolist()
        seconds = time.perf_counter() - started
        lengths = [row.index(_EOS) if _EOS in row else len(row) for row in found]
        outputs = [row[:length] for row, length in zip(found, lengths, strict=True)]
        tokens = sum(min(length + 1, len(row)) for length, row in zip(lengths, found, strict=True))
        return Turn(seconds, tokens, outputs=outputs)

    turn()
    return turn
