"""Programs on eight simulated devices, planned and real; prints one JSON line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from t5distill.plan import counting, devices, programs
from t5distill.student import sharding, slots, update
from t5distill.student.config import T5Config
from t5distill.student.decoding import generate_tokens
from t5distill.student.network import init_parameters
from t5distill.student.settings import Settings

CONFIG = T5Config(
    vocab_size=256,
    emb_dim=32,
    num_heads=4,
    head_dim=8,
    mlp_dim=64,
    num_encoder_layers=1,
    num_decoder_layers=2,
    dropout_rate=0.1,
)


def collectives(mesh):
    """Return what simple programs of known transfers are found to send."""

    def count(body, spec_in, spec_out, times=1):
        mapped = jax.shard_map(body, mesh=mesh, in_specs=spec_in, out_specs=spec_out)

        def repeated(x):
            if times == 1:
                return mapped(x)
            return jax.lax.scan(lambda c, _: (mapped(c), None), x, None, length=times)[0]

        x = jax.ShapeDtypeStruct((64, 64), jnp.float32, sharding=NamedSharding(mesh, spec_in))
        text = jax.jit(repeated).lower(x).compile().as_text()
        found = counting.transfers(text, 8)
        return [found.sent, found.calls]

    whole, rows = PartitionSpec(), PartitionSpec("data")

    def around(x):
        return jax.lax.ppermute(x, "data", [(i, (i + 1) % 4) for i in range(4)])

    return {
        "sum": count(lambda x: jax.lax.psum(x, "data"), rows, whole),
        "permute in a loop": count(around, rows, rows, times=5),
        "gather": count(lambda x: jax.lax.all_gather(x, "data", tiled=True), rows, rows),
        "scatter": count(lambda x: jax.lax.psum_scatter(x, "data", tiled=True), whole, rows),
        "permute": count(around, rows, rows),
        "exchange": count(lambda x: jax.lax.all_to_all(x, "data", 1, 1, tiled=True), rows, rows),
        "nothing": count(lambda x: x * 2, rows, rows),
    }


def on_first_device(tree):
    """Return the bytes of a tree's arrays that lie on the first device."""
    first = jax.devices()[0]
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(tree)
        for shard in leaf.addressable_shards
        if shard.device == first
    )


def kept(mesh):
    """Return the bytes that training keeps on a device: planned, and of a real state and batch."""
    settings = Settings(train_steps=3)
    planned = programs.training(CONFIG, settings, mesh, 16, programs.Lengths(32, 16))
    shapes = update.abstract_state(CONFIG, settings, mesh)
    state = update.start_state(update.random_parameters(CONFIG, 0, shapes), settings, shapes)
    sizes = dict.fromkeys(("encoder_input_tokens", "encoder_segment_ids"), 32)
    names = ("decoder_input_tokens", "decoder_target_tokens", "decoder_segment_ids")
    sizes |= dict.fromkeys(names, 16)
    batch = {k: np.ones((16, n), np.int32) for k, n in sizes.items()}
    batch = sharding.global_batch(mesh, batch)
    run = update.compile_update(CONFIG, settings, mesh, shapes)
    real = on_first_device((state, batch))
    run(state, batch)
    return {"planned": planned.arguments, "real": real, "memory": planned.memory}


def decoded(mesh):
    """Return the bytes that decoding keeps on a device: planned, and of the rows themselves."""
    planned = programs.decoding(CONFIG, mesh, 16, programs.Lengths(40, 70))
    params = init_parameters(CONFIG, 0)
    placed = jax.device_put(params, sharding.parameter_shardings(mesh, params))
    rows = slots.empty(config=CONFIG, mesh=mesh, rows=16, width=64, ring=128)
    real = on_first_device((slots.compute_copy(placed, config=CONFIG), rows))
    # The planned program is one that decoding really runs.
    inputs = [[5, 6, 1]] * 16
    written = generate_tokens(placed, CONFIG, inputs, max_tokens=4, mesh=mesh)
    return {
        "planned": planned.arguments,
        "real": real + 8,  # two counts
        "widths": planned.widths,
        "sent": planned.transfers.sent,
        "written": len(written),
    }


def main():
    """Print everything."""
    devices.simulate(8)
    target = devices.target(None, (4, 2))
    mesh = target.mesh
    print(
        json.dumps(
            {
                "name": target.name,
                "exact": target.exact,
                "collectives": collectives(mesh),
                "kept": kept(mesh),
                "decoded": decoded(mesh),
            }
        )
    )


if __name__ == "__main__":
    main()
