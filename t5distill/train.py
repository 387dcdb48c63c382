"""`t5distill train`: fine-tune a student on SeqIO tasks, as gin files say."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from t5distill import gin_files, runtime
from t5distill.errors import UserError

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from t5distill.feed import Feed
    from t5distill.student.config import T5Config
    from t5distill.student.on_policy import OnPolicy
    from t5distill.student.settings import Settings
    from t5distill.student.update import Teacher

RUN_FILE = "gin/runs/train.gin"
ENTRY = "t5distill.train.train"
HELP = (
    "Fine-tune a student. MODEL_DIR then holds checkpoints, metrics and configuration; the same "
    "command again resumes an interrupted run."
)
EXAMPLE = (
    f"t5distill train --gin_file={RUN_FILE} --gin_file=gin/models/tiny.gin "
    "--gin_file=gin/recipes/quickstart_cot.gin "
    "--gin.VOCAB_PATH=\"'runs/quickstart/vocabulary.model'\" --gin.MODEL_DIR=\"'runs/cot'\""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    gin_files.add_arguments(parser, run_file=RUN_FILE)
    runtime.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Read the gin files and train."""
    files = gin_files.checked(args, run_file=RUN_FILE, entry=ENTRY)
    runtime.start(args)
    with runtime.together():
        return gin_files.configured(files, args, entry=ENTRY)()


def train(
    *,
    model_dir: str,
    model: T5Config,
    settings: Settings,
    feed: Feed,
    model_parallelism: int = 1,
    initial_checkpoint: str | None = None,
    teacher_checkpoint: str | None = None,
) -> int:
    """Train one student; gin/runs/train.gin binds the arguments to macros and explains them.

    Args:
      model_dir: where everything goes.
      model: the network.
      settings: length, loss, optimizer and periods.
      feed: the data.
      model_parallelism: devices that one copy of the network is spread over.
      initial_checkpoint: weights to begin with, unless model_dir has a checkpoint to resume from.
      teacher_checkpoint: a T5 with the student's vocabulary, which says at each token what else
        might stand there.

    Returns:
      The process's exit code: 0, or 128 plus the signal that stopped the run after a checkpoint.
    """
    import gin
    import jax

    from t5distill.metrics_writer import MetricsWriter
    from t5distill.student import checkpoints, sharding, trainer

    # --- devices, data, and what is written down before the first step
    mesh = sharding.make_mesh(model_parallelism)
    feed.check(model, mesh)
    teacher = _teacher(teacher_checkpoint, model, feed, mesh) if teacher_checkpoint else None
    rewrite = _own_texts(settings, model, feed, mesh) if settings.on_policy_share > 0 else None
    leads = jax.process_index() == 0
    if leads:
        feed.save_vocabulary(model_dir)
    resumed_at = max(checkpoints.steps(model_dir), default=0)
    record = {**runtime.describe_run(), "resumed_at": resumed_at, "steps": settings.train_steps}
    evaluates = settings.eval_period > 0
    writer = MetricsWriter(
        model_dir, first_step=resumed_at, last_step=settings.train_steps, leads=leads
    )

    # --- training
    stop = runtime.Stop()
    batches = feed.training(mesh)
    with stop.listening():
        outcome = trainer.fit(
            model,
            settings,
            directory=model_dir,
            batches=batches,
            mesh=mesh,
            record=feed.record(),
            initial=_initial(initial_checkpoint) if initial_checkpoint else None,
            validation=feed.validation(mesh) if evaluates else None,
            evaluate=feed.accuracy(model, mesh) if evaluates else None,
            teacher=teacher,
            rewrite=rewrite,
            writer=writer,
            stop=stop,
        )
    writer.close()

    # --- what was done, for people and for the report
    if leads:
        runtime.write_record(
            model_dir,
            record,
            config=gin.operative_config_str(),
            examples=batches.seen(int(outcome.state.step)),
            parameters=sum(x.size for x in jax.tree.leaves(outcome.state.params)),
            metrics=outcome.metrics,
            stopped=outcome.stopped,
        )
        print(runtime.summary(model_dir, int(outcome.state.step), outcome.metrics))
    return stop.exit_code if outcome.stopped else 0


def _initial(path: str) -> Callable[[Any], Any]:
    """Return what reads INITIAL_CHECKPOINT_PATH; a run that resumes never calls it.

    Only parameters are read: steps and the optimizer begin anew.
    """
    from t5distill.student.weights import open_weights

    def load(wanted: Any) -> Any:
        try:
            return open_weights(path).load(wanted)
        except UserError as e:
            raise UserError(f"INITIAL_CHECKPOINT_PATH: {e}") from e

    return load


def _teacher(path: str, model: T5Config, feed: Feed, mesh: Mesh) -> Teacher:
    """Load a white-box teacher onto the student's devices.

    Raises:
      UserError: there is none, or its vocabulary is another one.
    """
    from t5distill.api import Student
    from t5distill.student.update import Teacher

    try:
        loaded = Student.load(path, dtype=model.dtype, mesh=mesh)
        feed.check_vocabulary(loaded)
    except UserError as e:
        raise UserError(f"TEACHER_CHECKPOINT_PATH: {e}") from e
    return Teacher(loaded.config, loaded.params)


def _own_texts(settings: Settings, model: T5Config, feed: Feed, mesh: Mesh) -> OnPolicy:
    """Return what has the student write targets itself; raise UserError where it cannot."""
    from t5distill.student.on_policy import OnPolicy

    share = settings.on_policy_share
    if feed.pack:
        raise UserError(
            f"ON_POLICY_SHARE is {share} and PACK True; a student continues rows of one example, "
            "wanted PACK = False"
        )
    return OnPolicy(config=model, share=share, seed=settings.random_seed, mesh=mesh)


if __name__ == "__main__":
    from t5distill.__main__ import main

    sys.exit(main(["train", *sys.argv[1:]]))
