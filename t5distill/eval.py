"""`t5distill eval`: decode a split and score it, as gin files say."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from t5distill import gin_files, places, runtime

if TYPE_CHECKING:
    from t5distill.decoder import Decoder

RUN_FILE = "gin/runs/eval.gin"
ENTRY = "t5distill.eval.evaluate"
HELP = "Decode a split of a task with a trained student and score it against the problems."
EXAMPLE = (
    f"t5distill eval --gin_file={RUN_FILE} --gin_file=gin/models/tiny.gin "
    "--gin_file=gin/recipes/quickstart_cot.gin --gin.CHECKPOINT_PATH=\"'runs/cot'\" "
    "--gin.EVAL_OUTPUT_DIR=\"'runs/cot/eval'\""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    gin_files.add_arguments(parser, run_file=RUN_FILE)
    runtime.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Read the gin files, decode and score."""
    files = gin_files.checked(args, run_file=RUN_FILE, entry=ENTRY)
    runtime.start(args)
    with runtime.together():
        gin_files.configured(files, args, entry=ENTRY)()


def evaluate(*, decoder: Decoder, output_dir: str) -> None:
    """Write predictions, verdicts and scores of every set to `output_dir`/{task}-{split}/."""
    import gin
    import jax

    from t5distill.evaluate import score

    leads = jax.process_index() == 0
    record = runtime.describe_run()
    students = decoder.load()
    for each in decoder.sets():
        out = places.place(output_dir) / f"{each.task}-{decoder.split}"
        with runtime.Stop().listening() as stop:
            line = decoder.decode(students, each, out / "predictions.jsonl", stop)
        if leads:
            print(line)
            score.run(
                argparse.Namespace(
                    problems=each.problems_path,
                    predictions=[out / "predictions.jsonl"],
                    out=out,
                    baseline=None,
                    style=None,
                    allow_unsafe=False,
                )
            )
    if leads:
        runtime.write_record(output_dir, record, config=gin.operative_config_str())


if __name__ == "__main__":
    from t5distill.__main__ import main

    sys.exit(main(["eval", *sys.argv[1:]]))
