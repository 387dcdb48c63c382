"""What T5X needs of this project; gin/t5x binds it. Nothing here replaces a part of T5X.

T5X reads tasks, vocabularies, models, optimizers and schedules as objects, a recipe says them in
literals: these functions turn the one into the other, with the same meaning as on t5distill's own
engine. T5X is installed apart (docs/t5x.md).
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.core
import flax.traverse_util
import jax
from jax.interpreters import pxla
from t5x import adafactor, decoding, models, optimizers, utils
from t5x.examples.t5 import network

from t5distill import data, gin_files
from t5distill.__main__ import with_bindings
from t5distill.data.converters import converter_of, lengths_of
from t5distill.data.vocabularies import check_size
from t5distill.decoder import check_decoding
from t5distill.errors import UserError
from t5distill.formats.vocabulary import load, use_vocabulary
from t5distill.runtime import import_tasks
from t5distill.student.calculator import Calculator
from t5distill.student.calculator_steps import Steps, choose, only
from t5distill.student.objective import Objective
from t5distill.student.optimizers import make_optimizer, make_schedule
from t5distill.student.t5x_format import is_place
from t5distill.t5x_model import SoftModel


def check_macros() -> None:
    """Raise UserError for a macro of T5X's command line that no run file declares.

    Gin takes one without a word, and T5X parses the command line before anything of ours runs.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    gin_files.add_arguments(parser, run_file="gin/t5x/train.gin")
    args, _ = parser.parse_known_args(with_bindings(sys.argv[1:]))
    if args.gin_file:
        gin_files.check(gin_files.given(args), args.gin_bindings, run_file="gin/t5x/train.gin")


def task_name(
    *, name: str, other: str | None, vocab: str, vocab_path: str | None, module: str
) -> str:
    """Return the registered name of a task or mixture in a vocabulary: `gsm8k_cot__byt5`.

    Args:
      name: MIXTURE_OR_TASK_NAME.
      other: EVAL_MIXTURE_OR_TASK_NAME, which comes before it where it is set.
      vocab: of the name.
      vocab_path: its SentencePiece model, or None for the environment's.
      module: what registers the tasks.
    """
    use_vocabulary(vocab, vocab_path)
    import_tasks(module)
    return data.resolve(other or name, vocab)


def feature_lengths(*, task: str, lengths: Mapping[str, int]) -> dict[str, int]:
    """Return TASK_FEATURE_LENGTHS with those of the features that a recipe does not name."""
    return lengths_of(task, lengths)


def make_model(
    *,
    task: str,
    vocab: str,
    vocab_path: str | None,
    vocab_size: int,
    emb_dim: int,
    num_heads: int,
    head_dim: int,
    mlp_dim: int,
    num_encoder_layers: int,
    num_decoder_layers: int,
    mlp_activations: Sequence[str],
    logits_via_embedding: bool,
    dropout_rate: float = 0.0,
    dtype: str = "float32",
    optimizer: optimizers.OptimizerDef | None = None,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    loss_normalizing_factor: str | float | None = None,
    decode_fn: Callable[..., Any] = decoding.temperature_sample,
    objective: Objective | None = None,
) -> models.EncoderDecoderModel:
    """Return T5X's encoder-decoder model in the shape that a model file says.

    The vocabulary is the task's own object: T5X refuses to run with any other. Loss weights that
    examples bring along (`formats.example`) come with the task's converter, as integers: with
    LOSS_NORMALIZING_FACTOR 'NUM_REAL_TARGET_TOKENS' the loss is divided by their sum.
    """
    check_macros()
    use_vocabulary(vocab, vocab_path)
    vocabulary = data.vocabulary(vocab)
    check_size(vocab, vocab_size)
    config = network.T5Config(
        vocab_size=vocab_size,
        dtype=dtype,
        emb_dim=emb_dim,
        num_heads=num_heads,
        num_encoder_layers=num_encoder_layers,
        num_decoder_layers=num_decoder_layers,
        head_dim=head_dim,
        mlp_dim=mlp_dim,
        mlp_activations=tuple(mlp_activations),
        dropout_rate=dropout_rate,
        logits_via_embedding=logits_via_embedding,
    )
    soft = objective is not None and objective.is_soft
    make = functools.partial(SoftModel, objective=objective) if soft else models.EncoderDecoderModel
    return make(
        module=network.Transformer(config),
        input_vocabulary=vocabulary,
        output_vocabulary=vocabulary,
        optimizer_def=optimizer or _adafactor(),
        decode_fn=decode_fn,
        feature_converter_cls=converter_of(task),
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        loss_normalizing_factor=loss_normalizing_factor,
    )


def objective(
    *,
    loss: str,
    z_loss: float,
    label_smoothing: float,
    soft_weight: float,
    temperature: float,
    missing_mass: str,
    beta: float,
    teacher_checkpoint: str | None,
    on_policy_share: float,
) -> Objective:
    """Return what a target token costs, as on t5distill's engine.

    Raises:
      UserError: the loss is unknown, or needs more than the soft labels of a task.
    """
    if teacher_checkpoint is not None or on_policy_share:
        raise UserError(
            "TEACHER_CHECKPOINT_PATH and ON_POLICY_SHARE are of t5distill's own engine; wanted "
            "the soft labels of a task"
        )
    made = Objective(
        loss=loss,
        z_loss=z_loss,
        label_smoothing=label_smoothing,
        soft_weight=soft_weight,
        temperature=temperature,
        missing_mass=missing_mass,
        beta=beta,
    )
    made.check_listed()
    return made


def schedule(
    *, name: str, learning_rate: float, warmup_steps: int, train_steps: int
) -> Callable[[int], jax.Array]:
    """Return the learning rate of a step, as on t5distill's engine."""
    return make_schedule(
        name, learning_rate=learning_rate, warmup_steps=warmup_steps, train_steps=train_steps
    )


def make_optimizer_def(name: str, learning_rate_fn: Any) -> optimizers.OptimizerDef:
    """Return T5X's Adafactor, or another optimizer of t5distill's inside T5X's wrapper.

    T5X's wrapper of optax optimizers ignores the trainer's learning rate: there the schedule is
    part of the optimizer.
    """
    if name == "adafactor":
        return _adafactor()
    return _AnyOptax(make_optimizer(name, learning_rate_fn))


class _AnyOptax(optimizers.OptaxWrapper):
    """T5X's wrapper for any optax optimizer: T5X knows how to spread the states of a few only."""

    def derive_logical_axes(
        self, optimizer: optimizers.Optimizer, param_logical_axes: Any
    ) -> optimizers.Optimizer:
        """Spread what an optimizer keeps of a parameter as that parameter, and nothing else."""
        state = flax.traverse_util.flatten_dict(optimizer.state_dict())
        shapes = {path[1:]: x.shape for path, x in state.items() if path[0] == "target"}
        known = flax.traverse_util.flatten_dict(flax.core.unfreeze(param_logical_axes))

        def axes(path: tuple[str, ...], x: Any) -> Any:
            # What belongs to a parameter lies under its name: state/.../mu/decoder/layers_0/...
            for i in range(1, len(path)):
                if path[i:] in known and x.shape == shapes[path[i:]]:
                    return known[path[i:]]
            return None

        found = {path: axes(path, x) for path, x in state.items()}
        return optimizer.restore_state(flax.traverse_util.unflatten_dict(found))


def _adafactor() -> adafactor.Adafactor:
    return adafactor.Adafactor(
        decay_rate=0.8,
        step_offset=0,
        logical_factor_rules=adafactor.standard_logical_factor_rules(),
    )


def begin_afresh(
    state: Mapping[str, Any], target: Mapping[str, Any], *, is_resuming: bool = False
) -> Mapping[str, Any]:
    """Take the parameters of an initial checkpoint only, with step and optimizer as at the start.

    A state transformation of T5X's restore. TRAIN_STEPS then counts fine-tuning steps, whatever
    step the checkpoint was of. A run that resumes keeps everything.

    Raises:
      UserError: the checkpoint lacks a parameter of the model.
    """
    if is_resuming:
        return state
    wanted = flax.traverse_util.flatten_dict(dict(target)["target"], sep="/")
    # In the layout of the public checkpoints a leaf is a record of where the array lies.
    found = flax.traverse_util.flatten_dict(
        dict(state)["target"],
        is_leaf=is_place,
        sep="/",
    )
    if missing := sorted(wanted.keys() - found.keys()):
        raise UserError(
            f"INITIAL_CHECKPOINT_PATH lacks {len(missing)} parameters of the model, e.g. "
            f"{missing[0]}; wanted a checkpoint of the shape that the model file says"
        )
    return {"target": dict(state)["target"]}


def decode_function(
    *,
    decoding_name: str,
    temperature: float,
    calculator: bool = False,
    vocab: str = "t5",
    vocab_path: str | None = None,
    vocab_size: int = 0,
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return T5X's decode function for DECODING, with the calculator where CALCULATOR says so.

    Args:
      decoding_name: DECODING.
      temperature: of `sample`.
      calculator: whether the exact results of equations are forced, as on t5distill's engine.
      vocab: the calculator's, as are the other two.
      vocab_path: its SentencePiece model, or None for the environment's.
      vocab_size: tokens the network has.

    Raises:
      UserError: an unknown name, or a calculator for beams.
    """
    check_decoding(decoding_name, calculator=calculator)
    if decoding_name == "beam":
        return decoding.beam_search
    # Over the whole vocabulary; at temperature 0 T5X decodes greedily.
    chosen = temperature if decoding_name == "sample" else 0.0
    sample = functools.partial(decoding.temperature_sample, temperature=chosen, topk=0)
    if not calculator:
        return sample
    rules = Calculator(load(vocab, vocab_path), vocab_size)
    return functools.partial(sample, logit_callback_fn=_calculating(Steps(rules), chosen))


def _calculating(
    steps: Steps, temperature: float
) -> Callable[[jax.Array, decoding.SamplingLoopState], jax.Array]:
    """Return what T5X calls before it takes a token: it leaves one token for each row.

    The rules are of text, so the host decides. Each device asks its own host for its own rows.
    """

    def decided(logits: jax.Array, state: decoding.SamplingLoopState) -> jax.Array:
        key = jax.random.fold_in(state.rng, 0)  # T5X splits the same key for its own draw
        choices = choose(steps.calculator.masks, logits, key, temperature)

        def ask(rows: jax.Array, lengths: jax.Array, choices: jax.Array) -> jax.Array:
            shape = jax.ShapeDtypeStruct(lengths.shape, "int32")
            return jax.pure_callback(steps.tokens, shape, rows, lengths, choices)

        mesh = pxla.thread_resources.env.physical_mesh  # as T5X finds it itself
        if not mesh.empty:
            rows = jax.sharding.PartitionSpec(mesh.axis_names[0])
            ask = jax.shard_map(ask, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
        return only(ask(state.sequences[:, 1:], state.cur_index, choices), logits)

    return decided


def evaluated(
    *,
    period: int,
    task: str | None,
    name: str,
    vocab: str,
    module: str,
    feature_lengths: Mapping[str, int],
    split: str,
    batch_size: int,
    use_cached: bool,
    pack: bool,
) -> utils.DatasetConfig | None:
    """Return what a run is measured on, or None where EVAL_PERIOD is 0.

    Args:
      period: EVAL_PERIOD.
      task: EVAL_MIXTURE_OR_TASK_NAME, or None for the training task.
      name: the training task's registered name.
      vocab: the vocabulary.
      module: what registers the tasks.
      feature_lengths: as in training.
      split: of the task.
      batch_size: rows.
      use_cached: read SeqIO's cache.
      pack: several examples in a row, for the loss; never to be decoded.
    """
    if not period:
        return None
    registered = data.resolve(task, vocab) if task else name
    return utils.DatasetConfig(
        mixture_or_task_name=registered,
        module=module,
        task_feature_lengths=lengths_of(registered, feature_lengths),
        split=split,
        batch_size=batch_size,
        shuffle=False,
        seed=42,
        use_cached=use_cached,
        pack=pack,
    )
