"""One update of a student and one measurement of its loss, as compiled functions on a mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5distill.student import losses, network, sharding
from t5distill.student.config import T5Config
from t5distill.student.settings import Settings

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]

# Arrays of a batch that the network reads; T5's positions follow from the order of tokens.
FEATURES = (
    "encoder_input_tokens",
    "decoder_input_tokens",
    "decoder_target_tokens",
    "decoder_loss_weights",
    "encoder_segment_ids",
    "decoder_segment_ids",
    *losses.SOFT_FEATURES,
)


class State(NamedTuple):
    """What training changes: float32 parameters, the optax state, and the number of updates.

    The same tuple of `jax.ShapeDtypeStruct` describes it without arrays.
    """

    params: Any
    optimizer: Any
    step: Any


class Teacher(NamedTuple):
    """A larger T5 that scores what the student reads and writes.

    Attributes:
      config: its shape; its vocabulary is the student's.
      params: its parameters, on the student's mesh, spread by its own shape.
    """

    config: T5Config
    params: Any


def abstract_state(config: T5Config, settings: Settings, mesh: Mesh) -> State:
    """Return the state's shapes, dtypes and shardings, without any array."""
    params = jax.eval_shape(lambda: network.init_parameters(config, 0))
    optimizer = jax.eval_shape(settings.make_optimizer().init, params)

    return State(
        sharding.placed(params, sharding.parameter_shardings(mesh, params)),
        sharding.placed(optimizer, sharding.optimizer_shardings(mesh, params, optimizer)),
        jax.ShapeDtypeStruct((), jnp.int32, sharding=sharding.replicated(mesh)),
    )


def _shardings(shapes: Any) -> Any:
    return jax.tree.map(lambda x: x.sharding, shapes)


def random_parameters(config: T5Config, seed: int, shapes: State) -> Any:
    """Draw parameters on the mesh, each device its own part; the mesh does not change them."""
    if shapes.step.sharding.num_devices == 1:
        # One array after the other: a third of the time that compiling all draws together takes.
        return network.init_parameters(config, seed)
    place = _shardings(shapes.params)
    return jax.jit(lambda: network.init_parameters(config, seed), out_shardings=place)()


def start_state(params: Any, settings: Settings, shapes: State) -> State:
    """Return the state before the first update from parameters on the host or on the mesh."""

    def put(x: Any, shape: Any) -> jax.Array:
        if isinstance(x, jax.Array) and x.sharding == shape.sharding:
            return x
        x = np.asarray(x, np.float32)
        return jax.make_array_from_callback(x.shape, shape.sharding, lambda index: x[index])

    params = jax.tree.map(put, params, shapes.params)
    init = settings.make_optimizer().init
    # The copy leaves the caller's arrays alone when the first update donates its state.
    return jax.jit(
        lambda p: State(jax.tree.map(jnp.copy, p), init(p), jnp.zeros((), jnp.int32)),
        out_shardings=_shardings(shapes),
    )(params)


def compile_update(
    config: T5Config,
    settings: Settings,
    mesh: Mesh,
    shapes: State,
    teacher: Teacher | None = None,
) -> Callable[..., tuple[State, Metrics]]:
    """Return the jitted update `state, batch -> state, metrics`; it donates the state.

    A white-box teacher runs in the same program, without gradients: its parameters are the third
    argument of the update, and of `teacher` only the shapes are looked at here.

    Dropout's key is a function of seed, step and microbatch alone, so that a resumed run draws what
    an unbroken one would have drawn, on any mesh.
    """
    optimizer, schedule = settings.make_optimizer(), settings.make_schedule()

    def update(state: State, batch: Batch, scorer: Any = None) -> tuple[State, Metrics]:
        whole = None if teacher is None else teacher._replace(params=scorer)
        key = None
        if config.dropout_rate > 0.0:
            key = jax.random.fold_in(jax.random.key(settings.random_seed), state.step)
        gradients, sums = _gradients(config, settings, mesh, state.params, batch, key, whole)
        positions = batch["decoder_target_tokens"].size
        divisor = losses.denominator(sums, positions, settings.loss_normalizing_factor)
        gradients = jax.tree.map(lambda g: g / divisor, gradients)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        metrics = {
            **sums.means(),
            "gradient_norm": optax.tree.norm(gradients),
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
            "tokens": jnp.sum(batch["decoder_target_tokens"] > 0),
        }
        params = optax.apply_updates(state.params, updates)
        return State(params, optimizer_state, state.step + 1), metrics

    place = _shardings(shapes)
    beside = () if teacher is None else (_shardings(teacher.params),)
    return jax.jit(
        update,
        in_shardings=(place, sharding.batch_sharding(mesh), *beside),
        out_shardings=(place, sharding.replicated(mesh)),
        donate_argnums=0,
    )


def compile_measure(
    config: T5Config, mesh: Mesh, shapes: State
) -> Callable[[Any, Batch], losses.LossSums]:
    """Return the jitted sums `params, batch -> LossSums` of plain cross-entropy, dropout off."""

    def measure(params: Any, batch: Batch) -> losses.LossSums:
        plain = Settings(train_steps=1)
        return _loss_sums(config, plain, mesh, params, batch, None)

    return jax.jit(
        measure,
        in_shardings=(_shardings(shapes.params), sharding.batch_sharding(mesh)),
        out_shardings=sharding.replicated(mesh),
    )


def _loss_sums(
    config: T5Config,
    settings: Settings,
    mesh: Mesh,
    params: Any,
    batch: Batch,
    key: jax.Array | None,
    teacher: Teacher | None = None,
) -> losses.LossSums:
    """Run the network over a batch and sum the loss over its target tokens."""
    model = network.bind(config, params)
    hidden = _states(model, batch, key)
    states, kernel = None, None
    if teacher is not None:
        scorer = network.bind(teacher.config, teacher.params)
        states = jax.lax.stop_gradient(_states(scorer, batch, None))
        kernel = jax.lax.stop_gradient(scorer.output_kernel()).astype(states.dtype)
    return losses.loss_sums(
        settings.objective,
        hidden,
        model.output_kernel(),
        losses.batch_rows(batch, settings.loss_normalizing_factor, teacher=states),
        teacher_kernel=kernel,
        data_shards=mesh.shape["data"],
    )


def _states(model: network.T5, batch: Batch, key: jax.Array | None) -> jax.Array:
    """Return the decoder's last states over a batch, `[batch, length, emb]`."""
    return model.hidden(
        batch["encoder_input_tokens"],
        batch["decoder_input_tokens"],
        encoder_segments=batch.get("encoder_segment_ids"),
        decoder_segments=batch.get("decoder_segment_ids"),
        key=key,
    )


def _gradients(
    config: T5Config,
    settings: Settings,
    mesh: Mesh,
    params: Any,
    batch: Batch,
    key: jax.Array | None,
    teacher: Teacher | None,
) -> tuple[Any, losses.LossSums]:
    """Return the gradient of the summed loss, and the sums, over all microbatches.

    Sums, not means, are added up, so that the number of microbatches changes no result.
    """

    def loss(params: Any, batch: Batch, key: jax.Array | None):
        sums = _loss_sums(config, settings, mesh, params, batch, key, teacher)
        return sums.loss, sums

    differentiate = jax.grad(loss, has_aux=True)
    parts = settings.microbatches
    if parts == 1:
        return differentiate(params, batch, key)

    def split(x: jax.Array) -> jax.Array:
        # Part i takes the rows i, i + parts, ...: each device keeps the rows that it has.
        x = x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(None, "data")))

    def body(total, part):
        index, rows = part
        part_key = None if key is None else jax.random.fold_in(key, index)
        return jax.tree.map(jnp.add, total, differentiate(params, rows, part_key)), None

    rows = {k: split(v) for k, v in batch.items()}
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(differentiate, params, {k: v[0] for k, v in rows.items()}, key),
    )
    return jax.lax.scan(body, zeros, (jnp.arange(parts), rows))[0]
