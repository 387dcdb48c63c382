"""`t5distill export`: a checkpoint of any kind as Hugging Face or T5X reads it."""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import resource
import time
from collections.abc import Iterator

from t5distill import places

HELP = (
    "Write a student as a Hugging Face directory (weights, tokenizer, model card; transformers "
    "loads it as it stands) or as a T5X checkpoint. Reads t5distill's, T5X's and Hugging Face's "
    "checkpoints, one array in memory at a time."
)
EXAMPLE = (
    "t5distill export --checkpoint runs/quickstart/cot --out exported/cot "
    "--scores runs/quickstart/cot/embedded"
)
FORMATS = ("hf", "t5x")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--checkpoint", required=True, metavar="PATH", help="of any kind")
    parser.add_argument("--step", metavar="N", help="of a MODEL_DIR: a number or best (the best)")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="new; T5X's is DIR/checkpoint_STEP"
    )
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="(%(default)s)")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="of the arrays on disk (%(default)s); float16 for hf only",
    )
    group = parser.add_argument_group("hf, a Hugging Face directory")
    group.add_argument("--vocab", choices=("t5", "byt5"), help="where PATH does not say")
    group.add_argument("--vocab_path", metavar="FILE", help="SentencePiece model, likewise")
    group.add_argument("--name", help="in the model card (the name of DIR)")
    group.add_argument(
        "--scores",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of `score` or `eval`, for the model card",
    )
    group.add_argument(
        "--shard_gb", type=float, default=5.0, metavar="GB", help="largest file (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Open the checkpoint and write it anew."""
    from t5distill import quiet
    from t5distill.errors import UserError
    from t5distill.student.weights import open_weights

    quiet.import_tensorflow()
    step = args.step if args.step in (None, "best") else _number(args.step)
    if not 0 < args.shard_gb < 1e6:
        raise UserError(
            f"--shard_gb is {args.shard_gb}, wanted more than 0, and less than a million"
        )
    weights = open_weights(args.checkpoint, step)
    began = time.monotonic()
    if args.format == "t5x":
        out, size = _t5x(args, weights)
    else:
        out, size = _huggingface(args, weights)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{weights.where} ({weights.kind}) -> {out}: {size / 1e9:.3f} GB of {args.dtype} in "
        f"{time.monotonic() - began:.1f} s; peak memory {peak:.2f} GiB"
    )
    return 0


def _number(text: str) -> int:
    from t5distill.errors import UserError

    if not text.isdecimal():
        raise UserError(f"--step is {text!r}, wanted a number or best")
    return int(text)


def _t5x(args, weights) -> tuple[os.PathLike, int]:
    """Write a T5X checkpoint; return where, and its bytes."""
    from etils import epath

    from t5distill.errors import UserError
    from t5distill.student import checkpoints, t5x_format

    if args.dtype == "float16":
        raise UserError("--dtype is float16; T5X's checkpoints are float32 or bfloat16")
    if args.scores or args.vocab or args.vocab_path or args.name:
        raise UserError("--scores, --name and --vocab go into a Hugging Face directory only")
    arrays_say = t5x_format.infer_config(weights.arrays, str(weights.where))
    for field in ("mlp_activations", "relative_attention_max_distance"):
        found, told = getattr(weights.config, field), getattr(arrays_say, field)
        if found != told:
            raise UserError(
                f"{field} is {found}, which a T5X checkpoint does not say: it would be read as "
                f"{told}"
            )
    step = weights.step or 0
    out = checkpoints.checkpoint_path(args.out, step)
    if out.exists():
        raise UserError(f"{out} is there already; give another --out, or delete it")
    if places.is_remote(args.out):
        # What a bucket holds is not renamed: the files are written in their place.
        return out, t5x_format.write(out, weights.arrays, step=step, dtype=args.dtype)
    with _new_folder(pathlib.Path(out)) as part:
        size = t5x_format.write(epath.Path(part), weights.arrays, step=step, dtype=args.dtype)
    return out, size


def _huggingface(args, weights) -> tuple[pathlib.Path, int]:
    """Write a Hugging Face directory; return where, and its arrays' bytes."""
    from t5distill.errors import UserError
    from t5distill.export import huggingface, model_card

    out = places.place(args.out)
    if not places.is_remote(out):
        out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; give another --out, or delete it")
    scores = [model_card.scores_of(places.place(folder)) for folder in args.scores]
    kind, model = _vocabulary(args, weights)
    with _new_folder(out) as part:
        huggingface.write_configs(weights, part, dtype=args.dtype, kind=kind)
        huggingface.write_tokenizer(weights, part, kind=kind, model=model)
        text = model_card.card(weights, name=args.name or out.name, dtype=args.dtype, scores=scores)
        (part / "README.md").write_text(text, encoding="utf-8")
        size = huggingface.write_weights(
            weights, part, dtype=args.dtype, shard_bytes=int(args.shard_gb * 1e9)
        )
    return out, size


@contextlib.contextmanager
def _new_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a folder that becomes `out` when it is whole, and is gone where it is not."""
    from t5distill.curate.staging import staging
    from t5distill.errors import UserError

    with staging(out.parent, out.name) as part:
        yield part
        if places.is_remote(out):
            places.upload(part, out, last="config.json")
            return
        try:
            part.rename(out)
        except OSError as e:
            raise UserError(f"{out} came to be there in the meantime; nothing was changed") from e


def _vocabulary(args, weights) -> tuple[str, pathlib.Path | None]:
    """Return the kind of vocabulary and its SentencePiece model, which ByT5 has none of."""
    from t5distill.errors import UserError
    from t5distill.formats import vocabulary

    named = vocabulary.beside(weights.where, weights.record)
    if named is None and not (args.vocab or args.vocab_path):
        raise UserError(
            f"{weights.where} does not say its vocabulary; give --vocab t5 or byt5, and "
            "--vocab_path FILE where its SentencePiece model is not in $T5DISTILL_T5_VOCAB"
        )
    kind, path = named or (args.vocab or "t5", args.vocab_path)
    if args.vocab not in (None, kind):
        raise UserError(f"--vocab is {args.vocab}, but {weights.where} says {kind}; leave it out")
    if named and args.vocab_path:
        given = places.place(args.vocab_path)
        if not given.is_file() or not path or given.read_bytes() != places.place(path).read_bytes():
            raise UserError(
                f"--vocab_path {given} is not the vocabulary of {weights.where}, {path}; leave it "
                "out"
            )
    if kind == "mt5":
        raise UserError(
            "mT5's vocabulary spells rare characters as bytes, which is not exported yet; --format "
            "t5x takes the weights"
        )
    loaded = vocabulary.load(kind, path)
    if loaded.vocab_size > weights.config.vocab_size:
        raise UserError(
            f"the vocabulary has {loaded.vocab_size} ids, the network {weights.config.vocab_size}; "
            "give the one it was trained with as --vocab_path"
        )
    if kind == "byt5":
        return kind, None
    return kind, places.place(vocabulary.model_file(kind, path))
