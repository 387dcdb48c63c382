"""The smallest network that the launchers' tests train, as macros, and where they find problems."""

import os
import pathlib

from t5distill.problems import embedded
from t5distill.records import write_jsonl

SHAPE = {
    "EMB_DIM": "32",
    "NUM_HEADS": "2",
    "HEAD_DIM": "8",
    "MLP_DIM": "32",
    "NUM_ENCODER_LAYERS": "1",
    "NUM_DECODER_LAYERS": "1",
    "MIXTURE_OR_TASK_NAME": "'embedded_cot'",
}
BYTES = {"VOCAB": "'byt5'", "VOCAB_SIZE": "384"}


def environment(root: pathlib.Path, **counts: int) -> dict[str, str]:
    """Write so many embedded problems of each split below `root`; return what a launcher needs."""
    for split, count in counts.items():
        problems = embedded.generate(count=count, seed=0, split=split)
        write_jsonl(root / "data" / "embedded" / f"{split}.jsonl", problems)
    return {
        **os.environ,
        "T5DISTILL_DATA_DIR": str(root / "data"),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(pathlib.Path(__file__).parents[1]),
    }
