"""Decoding many examples: the public `generate_tokens`, in slots or with beams."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from t5distill.errors import UserError
from t5distill.student import slots as device
from t5distill.student.beam import beam_search
from t5distill.student.calculator import Calculator, allows
from t5distill.student.config import T5Config
from t5distill.student.sampling import Sampling
from t5distill.student.scheduler import Output, Scheduler, padded, round_up, width_bucket

# Decoded together on each device along data, where it is no processor.
ROWS = 128

Progress = Callable[[int, list[Output]], None]


def generate_tokens(
    params: Any,
    config: T5Config,
    inputs: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    beam_size: int = 1,
    seed: int = 0,
    indices: Sequence[int] | None = None,
    slots: int | None = None,
    swap: bool = True,
    mesh: Mesh | None = None,
    calculator: Calculator | None = None,
    progress: Progress | None = None,
) -> list[list[Output]]:
    """Decode `num_samples` outputs for each input.

    What an input yields depends on itself, the settings, `seed` and its index, and never on the
    other inputs, on the order, on `slots` or on the mesh (up to the rounding of float32: a tie
    between two tokens within rounding may fall either way).

    Args:
      params: parameter tree as `network.parameters` gives it, sharded over `mesh` at will.
      config: the network's shape.
      inputs: token ids of each example exactly as the encoder is to see them: T5's inputs end with
        EOS (id 1), and nothing is added here.
      max_tokens: the longest output, EOS included.
      num_samples: outputs for each input; with `beam_size` above 1 the best beams, at most as many.
      temperature: 0 for greedy.
      top_k: see `sampling.Sampling`.
      top_p: see `sampling.Sampling`.
      beam_size: above 1, beam search (`beam.beam_search`) instead of sampling.
      seed: of sampling.
      indices: the number of each input in the sampling key; its position by default. A caller that
        decodes the rest of a set gives the original positions, and gets the same texts.
      slots: rows decoded together; by default 64 on CPU and 128 for each device on the mesh's data
        axis elsewhere. Rounded up to what the mesh divides, and down to what is needed.
      swap: False keeps finished rows in their slots until all have finished (for comparison only).
      mesh: axes `data` and `model`, or None for one device.
      calculator: writes the results of equations in the student's place; not with beams.
      progress: called with an input's position and its outputs as soon as the last one is done.

    Returns:
      For each input its outputs, in the order of the samples (beams: best first).

    Raises:
      UserError: a setting is out of range.
      ValueError: an input is empty.
    """
    allows(calculator, beam_size)
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    _check(inputs, max_tokens=max_tokens, num_samples=num_samples, beam_size=beam_size)
    if beam_size > 1 and (num_samples > beam_size or temperature > 0):
        raise UserError(
            f"beam search gives at most beam_size = {beam_size} outputs at temperature 0, wanted "
            f"{num_samples} at {temperature}"
        )
    if not inputs:
        return []
    indices = range(len(inputs)) if indices is None else indices
    params = device.compute_copy(params, config=config)
    shards = 1 if mesh is None else mesh.shape["data"]
    wide = slots or (64 if jax.default_backend() == "cpu" else ROWS * shards)
    # Greedy samples are all alike: one is decoded.
    copies = num_samples if beam_size == 1 and temperature == 0.0 else 1
    outputs: list[list[Output]] = [[] for _ in inputs]

    def finish(example: int, found: list[Output]) -> None:
        outputs[example] = found * copies
        if progress is not None:
            progress(example, outputs[example])

    common = {
        "params": params,
        "config": config,
        "inputs": inputs,
        "queue": collections.deque(sorted(range(len(inputs)), key=lambda i: (-len(inputs[i]), i))),
        "samples": num_samples // copies,
        "max_tokens": max_tokens,
        "shards": shards,
        "mesh": mesh,
        "finish": finish,
    }
    if beam_size > 1:
        _decode_beams(beam_size=beam_size, slots=wide, **common)
        return outputs
    size = round_up(min(wide, len(inputs) * common["samples"]), shards)
    scheduler = Scheduler(
        indices=indices,
        sampling=sampling,
        seed=seed,
        size=size,
        swap=swap,
        calculator=calculator,
        **common,
    )
    scheduler.decode()
    return outputs


def _check(inputs: Sequence[Sequence[int]], **counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name} is {value}, wanted at least 1")
    for i, tokens in enumerate(inputs):
        if len(tokens) == 0:
            raise ValueError(f"input {i} is empty; an input holds at least EOS")


def _decode_beams(
    *,
    params: Any,
    config: T5Config,
    inputs: Sequence[Sequence[int]],
    queue: collections.deque[int],
    samples: int,
    max_tokens: int,
    shards: int,
    mesh: Mesh | None,
    finish: Callable[[int, list[Output]], None],
    beam_size: int,
    slots: int,
) -> None:
    """Run beam search over fixed batches of `slots // beam_size` examples."""
    batch = round_up(max(1, min(slots // beam_size, len(queue))), shards)
    while queue:
        examples = [queue.popleft() for _ in range(min(batch, len(queue)))]
        rows = [inputs[i] for i in examples]
        tokens = padded(rows, batch, width_bucket(max(len(row) for row in rows)))
        sequences, _, ended = beam_search(
            params, tokens, config=config, mesh=mesh, beam_size=beam_size, max_tokens=max_tokens
        )
        sequences, ended = np.asarray(sequences), np.asarray(ended)
        for place, example in enumerate(examples):
            found = [
                Output(
                    tokens=sequence[: sequence.index(device.EOS)] if finished else sequence,
                    finished=finished,
                )
                for sequence, finished in zip(
                    sequences[place].tolist(), ended[place].tolist(), strict=True
                )
            ]
            finish(example, found[:samples])
