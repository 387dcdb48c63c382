"""The project's own engine as a contender."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax

from benchmarks.workload import Turn, Workload
from t5distill.student import learner, sharding, update
from t5distill.student.decoding import generate_tokens
from t5distill.student.settings import Settings

DISTRIBUTIONS = ("jax", "jaxlib", "flax", "optax")


def axes(phase: str, workload: Workload) -> dict[str, list[Any]]:
    """Return the settings to try, by name; the first of each is where the sweep begins."""
    if phase == "training":
        return {"dtype": ["float32", "bfloat16"], "lengths": list(workload.packed)}
    return {"dtype": ["float32", "bfloat16"]}


def training(workload: Workload, setting: dict[str, Any]) -> Callable[[], Turn]:
    """Compile the update; return a turn of one update on the packed examples."""
    config = dataclasses.replace(workload.config, dtype=setting["dtype"])
    settings = Settings(train_steps=1, optimizer="adafactor", learning_rate=1e-3)
    mesh = sharding.make_mesh()
    shapes = update.abstract_state(config, settings, mesh)
    batch = workload.packed[setting["lengths"]]
    state = update.start_state(workload.load_weights(), settings, shapes)
    run = update.compile_update(config, settings, mesh, shapes)
    step = run.lower(state, learner.device_batch(mesh, batch, settings)).compile()

    def turn() -> Turn:
        nonlocal state
        started = time.perf_counter()
        state, metrics = step(state, learner.device_batch(mesh, batch, settings))
        loss = float(metrics["loss"])
        jax.block_until_ready(state)
        seconds = time.perf_counter() - started
        return Turn(seconds, int(metrics["tokens"]), updates=1, loss=loss)

    return turn


def decoding(workload: Workload, setting: dict[str, Any]) -> Callable[[], Turn]:
    """Compile by decoding once; return a turn that decodes all questions."""
    config = dataclasses.replace(workload.config, dtype=setting["dtype"])
    params = jax.device_put(workload.load_weights())

    def turn() -> Turn:
        started = time.perf_counter()
        found = generate_tokens(
            params, config, workload.prompts, max_tokens=workload.max_new_tokens
        )
        seconds = time.perf_counter() - started
        outputs = [output for [output] in found]
        tokens = sum(len(output.tokens) + output.finished for output in outputs)
        return Turn(seconds, tokens, outputs=[output.tokens for output in outputs])

    turn()
    return turn
