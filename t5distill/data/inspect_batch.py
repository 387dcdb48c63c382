"""Print one batch as training sees it, decoded back to text, with each token's loss weight."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from t5distill.errors import UserError, suggest

if TYPE_CHECKING:
    import numpy as np

HELP = "Print one packed batch decoded back to text, with the loss weight of each token."
SPLITS = ("train", "validation", "test")
EXAMPLE = "t5distill inspect gsm8k_cot --batch-size 1 --lengths 256 256"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("task", metavar="TASK", help="task or mixture, e.g. gsm8k_cot")
    parser.add_argument("--split", default="train", help="train, validation or test")
    parser.add_argument("--vocab", default="t5", help="t5, byt5 or mt5 (default: t5)")
    parser.add_argument(
        "--vocab-path",
        metavar="FILE",
        help="SentencePiece model of t5 or mt5 (default: $T5DISTILL_T5_VOCAB, else the public one)",
    )
    parser.add_argument("--batch-size", type=int, default=2, metavar="N", help="rows to print")
    parser.add_argument(
        "--lengths",
        type=int,
        nargs=2,
        default=(512, 512),
        metavar=("INPUTS", "TARGETS"),
        help="tokens in a row (default: 512 512)",
    )
    parser.add_argument("--no-pack", action="store_true", help="one example in a row")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffle (default: 0)")
    parser.add_argument(
        "--module", default="t5distill.tasks", help="module that registers the tasks"
    )


def run(args: argparse.Namespace) -> int:
    """Read the first batch and print it."""
    import importlib

    from t5distill import quiet

    if args.split not in SPLITS:
        raise UserError(f"--split {args.split!r}; {suggest(args.split, SPLITS)}")
    if args.batch_size < 1 or min(args.lengths) < 2:
        raise UserError("wanted --batch-size of at least 1 and --lengths of at least 2 tokens")
    quiet.import_tensorflow()
    try:
        importlib.import_module(args.module)
    except ModuleNotFoundError as e:
        raise UserError(f"--module {args.module}: {e}") from e
    from t5distill import data
    from t5distill.formats import vocabulary

    vocabulary.use_vocabulary(args.vocab, args.vocab_path)
    _ = vocabulary.load(args.vocab).vocab_size  # raises where there is none

    task = data.resolve(args.task, args.vocab)
    stream = data.stream_batches(
        task,
        lengths=dict(zip(("inputs", "targets"), args.lengths, strict=True)),
        batch_size=args.batch_size,
        split=args.split,
        pack=not args.no_pack,
        repeat=False,
        seed=args.seed,
    )
    print("\n\n".join(lines(next(stream), vocabulary.load(args.vocab))))
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """One example of a batch.

    Attributes:
      row: its row in the batch.
      number: its place in the row, from 1.
      inputs: the decoded input.
      targets: the decoded target.
      input_tokens: ids without padding.
      target_tokens: ids without padding.
      weights: the loss weight of each target token.
      soft: what a teacher would have written at each of them, ids with probabilities, likeliest
        first; empty where the task has no soft labels.
    """

    row: int
    number: int
    inputs: str
    targets: str
    input_tokens: list[int]
    target_tokens: list[int]
    weights: list[float]
    soft: list[list[tuple[int, float]]]


def segments(batch: Mapping[str, np.ndarray], vocabulary: Any) -> Iterator[Segment]:
    """Yield the examples of a batch, packed or not.

    Args:
      batch: arrays `[rows, length]` as `data.stream_batches` yields them.
      vocabulary: anything with `decode`.
    """
    inputs, targets = batch["encoder_input_tokens"], batch["decoder_target_tokens"]
    weights = batch["decoder_loss_weights"]
    # Without packing a row is one segment: everything that is not padding.
    input_ids = batch.get("encoder_segment_ids", (inputs != 0).astype("int32"))
    target_ids = batch.get("decoder_segment_ids", (targets != 0).astype("int32"))
    soft = _soft(batch)
    for row in range(len(inputs)):
        for number in range(1, max(input_ids[row].max(), target_ids[row].max()) + 1):
            of_input, of_target = input_ids[row] == number, target_ids[row] == number
            input_tokens = inputs[row][of_input].tolist()
            target_tokens = targets[row][of_target].tolist()
            yield Segment(
                row=row,
                number=int(number),
                inputs=vocabulary.decode(input_tokens),
                targets=vocabulary.decode(target_tokens),
                input_tokens=input_tokens,
                target_tokens=target_tokens,
                weights=weights[row][of_target].tolist(),
                soft=[entries for entries, here in zip(soft[row], of_target, strict=True) if here]
                if soft
                else [],
            )


def _soft(batch: Mapping[str, np.ndarray]) -> list[list[list[tuple[int, float]]]]:
    """Return the entries of every target token, `[rows][length][up to k]`, or nothing."""
    from t5distill.formats import quantised

    if "decoder_soft_ids" not in batch:
        return []
    shape = (*batch["decoder_target_tokens"].shape, -1)
    ids = quantised.ids(batch["decoder_soft_ids"]).reshape(shape).tolist()
    shares = quantised.probabilities(batch["decoder_soft_values"]).reshape(shape).tolist()
    return [
        [
            [(i, p) for i, p in zip(some, their, strict=True) if p > 0]
            for some, their in zip(row, of_row, strict=True)
        ]
        for row, of_row in zip(ids, shares, strict=True)
    ]


def lines(batch: Mapping[str, np.ndarray], vocabulary: Any) -> Iterator[str]:
    """Yield a paragraph for each example and, first, one for the batch."""
    found = list(segments(batch, vocabulary))
    rows, length = batch["encoder_input_tokens"].shape
    target_length = batch["decoder_target_tokens"].shape[1]
    used = sum(len(s.input_tokens) for s in found) / (rows * length)
    target_used = sum(len(s.target_tokens) for s in found) / (rows * target_length)
    yield (
        f"{rows} row{'s' * (rows != 1)} of {length} + {target_length} tokens hold "
        f"{len(found)} example{'s' * (len(found) != 1)}; "
        f"{used:.0%} of the input and {target_used:.0%} of the target tokens are in use"
    )
    for s in found:
        pairs = zip(s.target_tokens, s.weights, strict=True)
        tokens = "  ".join(f"{vocabulary.piece(i)} {weight:g}" for i, weight in pairs)
        yield (
            f"row {s.row}, example {s.number}\n"
            f"inputs, {len(s.input_tokens)} tokens:\n{s.inputs}\n"
            f"targets, {len(s.target_tokens)} tokens, loss weight {sum(s.weights):g}:\n"
            f"{s.targets}\n"
            f"target tokens and their loss weights:\n{tokens}"
            f"{_told_of_soft(s, vocabulary)}"
        )


def _told_of_soft(segment: Segment, vocabulary: Any) -> str:
    """Return a line for each target token that has soft labels."""
    told = []
    for token, entries in zip(segment.target_tokens, segment.soft, strict=False):
        if entries:
            shares = "  ".join(f"{vocabulary.piece(i)} {100 * p:.1f} %" for i, p in entries)
            told.append(f"{vocabulary.piece(token)}:  {shares}")
    if not segment.soft:
        return ""
    head = f"\nsoft labels of {len(told)} of {len(segment.target_tokens)} target tokens:"
    return "\n".join([head, *told])
