"""Decoding as a process of its own, on the meshes named; prints one JSON line of tokens."""

from __future__ import annotations

import argparse
import json

import jax
import numpy as np


def main() -> None:
    """Decode the same inputs on each mesh, greedily, sampling, and with beams or the calculator."""
    parser = argparse.ArgumentParser()
    parser.add_argument("meshes", nargs="+", help="e.g. 4x2: data x model")
    parser.add_argument("--process", type=int)
    parser.add_argument("--port", type=int)
    parser.add_argument("--calculator", action="store_true")
    args = parser.parse_args()
    if args.process is not None:
        jax.distributed.initialize(f"127.0.0.1:{args.port}", 2, args.process)

    from t5distill.formats.vocabulary import load
    from t5distill.student.calculator import Calculator
    from t5distill.student.config import T5Config
    from t5distill.student.decoding import generate_tokens
    from t5distill.student.network import init_parameters
    from t5distill.student.sharding import make_mesh, parameter_shardings

    calculator = Calculator(load("byt5"), 384) if args.calculator else None
    config = T5Config(
        vocab_size=384 if calculator else 40,
        emb_dim=16,
        num_heads=4,
        head_dim=4,
        mlp_dim=24,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    rng = np.random.default_rng(0)
    inputs = [
        [*rng.integers(2, config.vocab_size, rng.integers(1, 30)).tolist(), 1] for _ in range(19)
    ]
    whole = jax.tree.map(np.array, init_parameters(config, 1))
    whole["decoder"]["logits_dense"]["kernel"] *= 3.0
    if calculator:
        # Every token's first dimension is large, and lets only the signs of equations through.
        signs = load("byt5").encode("0123456789+= ")
        whole["token_embedder"]["embedding"][:, 0] = 4.0
        whole["decoder"]["logits_dense"]["kernel"][0] = -20.0
        whole["decoder"]["logits_dense"]["kernel"][0, signs] = 0.0
        whole["decoder"]["logits_dense"]["kernel"][0, signs[-3:]] = 0.6

    found = {}
    for name in args.meshes:
        data, model = map(int, name.split("x"))
        if name == "1x1":
            mesh, params = None, whole
        else:
            mesh = make_mesh(model)
            assert mesh.shape["data"] == data
            params = jax.tree.map(
                lambda x, s: jax.make_array_from_callback(x.shape, s, lambda index: x[index]),
                whole,
                parameter_shardings(mesh, whole),
            )
        settings = {"max_tokens": 12, "slots": 8, "mesh": mesh}
        kinds = {
            "greedy": {},
            "sample": {"temperature": 1.0, "top_k": 20, "top_p": 0.9, "num_samples": 2},
            "beam": {"beam_size": 2},
        }
        if calculator:
            del kinds["beam"]
            settings |= {"max_tokens": 40, "calculator": calculator}
        found[name] = {
            kind: [
                [[output.tokens, output.forced, output.changed] for output in outputs]
                for outputs in generate_tokens(params, config, inputs, **settings, **extra)
            ]
            for kind, extra in kinds.items()
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
