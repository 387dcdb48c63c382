"""`t5distill infer`: decode predictions for a split, as gin files say."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from t5distill import gin_files, places, runtime

if TYPE_CHECKING:
    from t5distill.decoder import Decoder

RUN_FILE = "gin/runs/infer.gin"
ENTRY = "t5distill.infer.infer"
HELP = "Decode a split of a task with a trained student; write JSONL of Prediction."
EXAMPLE = (
    f"t5distill infer --gin_file={RUN_FILE} --gin_file=gin/models/tiny.gin "
    "--gin_file=gin/recipes/quickstart_cot.gin --gin.CHECKPOINT_PATH=\"'runs/cot'\" "
    "--gin.INFER_OUTPUT_DIR=\"'runs/cot/test'\""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    gin_files.add_arguments(parser, run_file=RUN_FILE)
    runtime.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Read the gin files and decode."""
    files = gin_files.checked(args, run_file=RUN_FILE, entry=ENTRY)
    runtime.start(args)
    with runtime.together():
        gin_files.configured(files, args, entry=ENTRY)()


def infer(*, decoder: Decoder, output_dir: str) -> None:
    """Decode every set of a task or mixture into `output_dir`/{task}-{split}.jsonl."""
    import gin
    import jax

    out = places.place(output_dir)
    record = runtime.describe_run()
    students = decoder.load()
    lines, sets = [], decoder.sets()
    with runtime.Stop().listening() as stop:
        for each in sets:
            path = out / f"{each.task}-{decoder.split}.jsonl"
            lines.append(decoder.decode(students, each, path, stop))
    if jax.process_index() == 0:
        runtime.write_record(output_dir, record, config=gin.operative_config_str(), done=lines)
        print("\n".join(lines))
        print(
            f"judge them: t5distill score --problems {sets[0].problems_path} --predictions {path}"
        )


if __name__ == "__main__":
    from t5distill.__main__ import main

    sys.exit(main(["infer", *sys.argv[1:]]))
