"""What soft labels cost: the same update with and without them, in turns.

    python -m benchmarks.soft_cost --out soft_cost.json

One step of training with cross-entropy, and with the forward KL from the top 5 of each target
token, on the same rows; a white-box teacher of the student's own size beside them. Memory is XLA's
count of arguments, results and what lies between.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.reporting import measured, median
from t5distill.formats import quantised
from t5distill.student import learner, sharding, update
from t5distill.student.config import T5Config
from t5distill.student.settings import Settings

TOP = 5


class Shape(NamedTuple):
    """A network, and the rows of an update: how many, tokens of inputs and of targets."""

    config: T5Config
    rows: tuple[int, int, int]


SHAPES = {
    "tiny": Shape(
        T5Config(
            vocab_size=1024,
            emb_dim=64,
            num_heads=4,
            head_dim=16,
            mlp_dim=192,
            num_encoder_layers=2,
            num_decoder_layers=2,
            logits_via_embedding=True,
        ),
        (40, 72, 96),
    ),
    "t5_1_1_small": Shape(T5Config(), (4, 256, 256)),
}
WAYS = ("hard", "soft", "white box")


def _batch(shape: Shape) -> dict[str, np.ndarray]:
    """Return an update's rows, with soft labels of every target token."""
    draw = np.random.default_rng(0)
    count, inputs, targets = shape.rows
    vocab = shape.config.vocab_size
    read, written = (draw.integers(3, vocab, (count, n), np.int32) for n in (inputs, targets))
    ids = draw.integers(3, vocab, (count, targets, TOP))
    shares = np.sort(draw.dirichlet([0.3] * (TOP + 1), (count, targets)))[..., :0:-1]
    found = [quantised.encoded(i, p) for i, p in zip(ids, shares, strict=True)]
    soft_ids, values = (np.stack(part) for part in zip(*found, strict=True))
    return {
        "encoder_input_tokens": read,
        "decoder_input_tokens": np.pad(written, ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": written,
        "decoder_soft_ids": soft_ids,
        "decoder_soft_values": values,
    }


def _step(shape: Shape, way: str) -> tuple[Callable[[], float], int]:
    """Return what takes one step and says how long it took, and the program's bytes."""
    config = shape.config
    settings = Settings(train_steps=1000, loss="cross_entropy" if way == "hard" else "forward_kl")
    mesh = sharding.make_mesh()
    shapes = update.abstract_state(config, settings, mesh)
    params = update.random_parameters(config, 0, shapes)
    teacher = update.Teacher(config, update.random_parameters(config, 1, shapes))
    beside = (teacher.params,) if way == "white box" else ()
    run = update.compile_update(config, settings, mesh, shapes, teacher if beside else None)
    rows = _batch(shape)
    if way != "soft":
        rows = {name: x for name, x in rows.items() if "soft" not in name}
    batch = learner.device_batch(mesh, rows, settings)
    state = update.start_state(params, settings, shapes)
    compiled = run.lower(state, batch, *beside).compile()
    memory = compiled.memory_analysis()
    size = memory.argument_size_in_bytes + memory.output_size_in_bytes
    size += memory.temp_size_in_bytes - memory.alias_size_in_bytes

    def step() -> float:
        nonlocal state
        since = time.perf_counter()
        state, metrics = compiled(state, batch, *beside)
        jax.block_until_ready(metrics)
        return time.perf_counter() - since

    return step, size


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure every network."""
    report: dict[str, Any] = {"load_before": os.getloadavg()}
    for name in args.networks:
        steps = {way: _step(SHAPES[name], way) for way in WAYS}
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(args.rounds + 1):
            # Each way comes first in every second round: the machine's other work hits all alike.
            for way in WAYS if number % 2 else WAYS[::-1]:
                taken = [steps[way][0]() for _ in range(args.steps)]
                if number:
                    seconds[way].append(median(taken))
        report[name] = {
            way: {
                "seconds": seconds[way],
                "bytes": steps[way][1],
                "ratios": [a / b for a, b in zip(seconds[way], seconds["hard"], strict=True)],
                "memory": steps[way][1] / steps["hard"][1],
            }
            for way in WAYS
        }
        print(_told(name, report[name]), flush=True)
    count = SHAPES["tiny"].rows
    print(f"\na target token has {2 * 4 * TOP} bytes of soft labels in a batch, int32, top {TOP}")
    report["rows"] = count
    return report


def _told(name: str, ways: dict[str, Any]) -> str:
    lines = [f"\n{name}, rows {SHAPES[name].rows}:"]
    for way, found in ways.items():
        ratios = found["ratios"]
        lines.append(
            f"  {way:<10}{1e3 * median(found['seconds']):>9.1f} ms {found['bytes'] / 1e6:>9.1f} MB"
            f"   time x {median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
            f"   memory x {found['memory']:.3f}"
        )
    return "\n".join(lines)


def main() -> int:
    """Read the arguments, measure, say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=7, help="turns of each way (7)")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn (5)")
    parser.add_argument("--out", help="JSON file for all figures")
    return 0 if measured(run, parser.parse_args()) else 2


if __name__ == "__main__":
    sys.exit(main())
