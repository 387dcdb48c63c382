"""A training run as a process of its own, on made-up data; prints one JSON line.

The tests start it with other device counts, as several processes, and kill it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time


def soft_labels(draw, targets):
    """Return three likely tokens for most targets, the target itself the likeliest."""
    import numpy as np

    from t5distill.formats import quantised

    others = draw.integers(3, 50, (*targets.shape, 2))
    ids = np.concatenate([targets[..., None], others], axis=-1)
    shares = np.sort(draw.dirichlet([1.0] * 4, targets.shape))[..., :0:-1]
    shares[draw.random(targets.shape) < 0.2] = 0.0
    found = [quantised.encoded(i, p) for i, p in zip(ids, shares, strict=True)]
    names = ("decoder_soft_ids", "decoder_soft_values")
    return dict(zip(names, map(np.stack, zip(*found, strict=True)), strict=True))


def batches_from(
    step: int, *, rows: int, length: int, share: int = 0, shares: int = 1, packed: bool = True
):
    """Yield batches, a function of the step alone: sort the input, two examples packed per row."""
    import numpy as np

    local = rows // shares
    while True:
        draw = np.random.default_rng(step)
        step += 1
        inputs = draw.integers(3, 50, (rows, length)).astype(np.int32)
        targets = np.sort(inputs, axis=1)
        segments = np.repeat([[1, 2]] * rows, length // 2, axis=1).astype(np.int32)
        weights = draw.integers(0, 2, (rows, length)).astype(np.int32)
        batch = {
            "encoder_input_tokens": inputs,
            "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
            "decoder_target_tokens": targets,
            "decoder_loss_weights": weights,
            "encoder_segment_ids": segments,
            "decoder_segment_ids": segments,
            **soft_labels(draw, targets),
        }
        if not packed:
            batch = {k: v for k, v in batch.items() if "segment" not in k}
        yield {k: v[share * local : (share + 1) * local] for k, v in batch.items()}


def main() -> None:
    """Train and print the losses of every step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--model_parallelism", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--optimizer", default="adafactor")
    parser.add_argument("--microbatches", type=int, default=1)
    parser.add_argument("--checkpoint_period", type=int, default=0)
    parser.add_argument("--loss", default="cross_entropy")
    parser.add_argument("--white_box", action="store_true")
    parser.add_argument("--on_policy_share", type=float, default=0.0)
    parser.add_argument("--slow_s", type=float, default=0.0)
    parser.add_argument("--process", type=int)
    parser.add_argument("--port", type=int)
    args = parser.parse_args()

    import jax

    if args.process is not None:
        jax.distributed.initialize(
            coordinator_address=f"127.0.0.1:{args.port}", num_processes=2, process_id=args.process
        )
    from t5distill.student import sharding, trainer, update
    from t5distill.student.config import T5Config
    from t5distill.student.on_policy import OnPolicy
    from t5distill.student.settings import Settings

    config = T5Config(
        vocab_size=64,
        emb_dim=128,
        num_heads=4,
        head_dim=32,
        mlp_dim=256,
        num_encoder_layers=1,
        num_decoder_layers=1,
        dropout_rate=args.dropout,
    )
    settings = Settings(
        train_steps=args.steps,
        optimizer=args.optimizer,
        learning_rate=1e-2 if args.optimizer == "adafactor" else 1e-3,
        warmup_steps=4,
        z_loss=1e-4,
        log_period=1,
        microbatches=args.microbatches,
        checkpoint_period=args.checkpoint_period,
        keep_checkpoints=2,
        loss=args.loss,
        soft_weight=0.8,
        missing_mass="tail",
        on_policy_share=args.on_policy_share,
    )
    mesh = sharding.make_mesh(args.model_parallelism)
    share, shares = sharding.data_layout(mesh)
    teacher, rewrite = None, None
    if args.white_box:
        large = dataclasses.replace(config, emb_dim=256, dropout_rate=0.0)
        shapes = update.abstract_state(large, settings, mesh)
        teacher = update.Teacher(large, update.random_parameters(large, 7, shapes))
    if args.on_policy_share:
        rewrite = OnPolicy(config=config, share=args.on_policy_share, seed=0, mesh=mesh)
    losses: dict[int, float] = {}

    class Writer:
        def advance(self, step: int) -> None:
            time.sleep(args.slow_s)

        def write(self, step: int, scalars: dict[str, float]) -> None:
            losses[step] = scalars["loss"]
            with open(os.path.join(args.directory, "seen.txt"), "a") as f:
                f.write(f"{step} {scalars['loss']!r}\n")

    outcome = trainer.fit(
        config,
        settings,
        directory=args.directory,
        batches=lambda step: batches_from(
            step, rows=16, length=16, share=share, shares=shares, packed=rewrite is None
        ),
        mesh=mesh,
        teacher=teacher,
        rewrite=rewrite,
        writer=Writer(),
    )
    norm = jax.jit(lambda p: sum(abs(x).sum() for x in jax.tree.leaves(p)))(outcome.state.params)
    print(
        json.dumps(
            {
                "losses": losses,
                "parameters": float(norm),
                "devices": jax.device_count(),
                "layout": [share, shares],
            }
        )
    )


if __name__ == "__main__":
    main()
