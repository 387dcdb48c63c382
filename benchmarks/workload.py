"""What every contender works on: the same weights, the same GSM8K examples, the same questions."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import unflatten_dict

from t5distill.errors import UserError
from t5distill.student.config import T5Config

Batch = dict[str, np.ndarray]
Lengths = tuple[int, int]

# Of the weights, and of which examples and questions are drawn from the official files.
SEED = 0


class Turn(NamedTuple):
    """One timed turn of a contender.

    Attributes:
      seconds: wall time, from tokens in memory to results in memory.
      tokens: target tokens that are no padding, EOS included.
      updates: optimizer updates; 0 in decoding.
      loss: in training, nats per target token; None in decoding.
      outputs: in decoding, the tokens of each question without EOS, in order; None in training.
    """

    seconds: float
    tokens: int
    updates: int = 0
    loss: float | None = None
    outputs: list[list[int]] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """The tokens and where the weights lie; small enough to be sent to each process.

    Attributes:
      config: the network.
      weights: an .npz file of float32 parameters, named by their paths joined with slashes.
      examples: (inputs, targets) as token ids, EOS included, for engines that pad.
      packed: the same examples packed by SeqIO, all rows in one batch, by `lengths`.
      prompts: token ids of the questions, EOS included.
      max_new_tokens: the longest output, EOS included.
    """

    config: T5Config
    weights: str
    examples: list[tuple[list[int], list[int]]]
    packed: dict[Lengths, Batch]
    prompts: list[list[int]]
    max_new_tokens: int

    @property
    def target_tokens(self) -> int:
        """Target tokens of one training turn."""
        return sum(len(targets) for _, targets in self.examples)

    def load_weights(self) -> dict[str, Any]:
        """Return the parameter tree, named as in T5X, as numpy arrays."""
        with np.load(self.weights) as stored:
            return unflatten_dict(dict(stored), sep="/")

    def padding_share(self, lengths: Lengths) -> float:
        """Return the share of padding among the packed target positions."""
        targets = self.packed[lengths]["decoder_target_tokens"]
        return float(np.mean(targets == 0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to prepare: official files, vocabulary, sizes."""

    data: str
    vocab: str
    config: T5Config
    examples: int
    prompts: int
    max_new_tokens: int
    layouts: Sequence[Lengths]
    checkpoint: str | None = None


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_files(data: str, vocab: str) -> None:
    """Raise UserError where the official files or the vocabulary are missing."""
    for path, option, what in (
        (pathlib.Path(data, "train.jsonl"), "--data", "GSM8K's official train.jsonl"),
        (pathlib.Path(data, "test.jsonl"), "--data", "GSM8K's official test.jsonl"),
        (pathlib.Path(vocab), "--vocab", "T5's SentencePiece model"),
    ):
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; wanted {what}. Name it with {option}, or set "
                "$T5DISTILL_REAL_DATA to a folder with gsm8k/ and t5_vocab/spiece.model"
            )


def prepare(folder: str, request: Request) -> Workload:
    """Write weights and prepared problems to `folder`; return the workload.

    It runs in a process of its own, which takes TensorFlow's memory with it when it ends.

    Raises:
      UserError: a file is missing or damaged, or too few examples fit the rows.
    """
    from absl import logging

    from t5distill.formats import vocabulary
    from t5distill.quiet import import_tensorflow

    import_tensorflow()
    logging.set_verbosity(logging.ERROR)  # SeqIO warns of every column that packing leaves out
    os.environ["T5DISTILL_DATA_DIR"] = folder
    vocabulary.use_model_file("t5", request.vocab)
    shortest = tuple(min(side) for side in zip(*request.layouts, strict=True))
    _write_problems(folder, request, shortest)
    config, params = _network(request)
    weights = os.path.join(folder, "weights.npz")
    _write_weights(weights, params)
    packed, examples, prompts = _read_problems(request)
    return Workload(
        config=config,
        weights=weights,
        examples=examples,
        packed=packed,
        prompts=prompts,
        max_new_tokens=request.max_new_tokens,
    )


def _write_problems(folder: str, request: Request, longest: Sequence[int]) -> None:
    """Draw problems whose tokens no layout would cut, and store them where tasks look."""
    from t5distill import formats
    from t5distill.formats import vocabulary
    from t5distill.problems import gsm8k
    from t5distill.records import write_jsonl

    style, vocab = formats.style("cot"), vocabulary.load("t5", request.vocab)
    for split, wanted in (("train", request.examples), ("test", request.prompts)):
        problems = list(gsm8k.read(pathlib.Path(request.data, f"{split}.jsonl"), split))
        random.Random(SEED).shuffle(problems)
        drawn = []
        for problem in problems:
            texts = [style.inputs(problem)]
            if split == "train":
                texts.append(style.targets(problem, formats.gold_chain(problem, style="cot")))
            # EOS is the one token that the task adds.
            fits = [
                len(vocab.encode(text)) < limit for text, limit in zip(texts, longest, strict=False)
            ]
            drawn += [problem] if all(fits) else []
            if len(drawn) == wanted:
                break
        if len(drawn) < wanted:
            raise UserError(
                f"{request.data}: {len(drawn)} problems of the {split} split fit "
                f"{tuple(longest)} tokens, wanted {wanted}"
            )
        write_jsonl(os.path.join(folder, "gsm8k", f"{split}.jsonl"), drawn)


def _read_problems(
    request: Request,
) -> tuple[dict[Lengths, Batch], list[tuple[list[int], list[int]]], list[list[int]]]:
    """Read the problems back through the project's own task: packed, unpacked, and questions."""
    from t5distill import data
    from t5distill.runtime import import_tasks

    import_tasks("t5distill.tasks")
    task = data.resolve("gsm8k_cot", "t5")
    examples = [
        (x["inputs"].tolist(), x["targets"].tolist())
        for x in data.read_examples(task, split="train")
    ]
    prompts = [x["inputs"].tolist() for x in data.read_examples(task, split="test")]
    packed = {}
    for layout in request.layouts:
        rows = list(
            data.stream_batches(
                task,
                lengths=dict(zip(("inputs", "targets"), layout, strict=True)),
                batch_size=1,
                shuffle=False,
                repeat=False,
            )
        )
        batch = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        tokens = int(np.sum(batch["decoder_target_tokens"] > 0))
        wanted = sum(len(targets) for _, targets in examples)
        assert tokens == wanted, f"packing to {layout} kept {tokens} of {wanted} target tokens"
        packed[tuple(layout)] = batch
    return packed, examples, prompts


def _network(request: Request) -> tuple[T5Config, Any]:
    """Return the network's shape and its parameters: random, or those of a checkpoint."""
    from t5distill.api import Student
    from t5distill.formats import vocabulary
    from t5distill.student import network

    if request.checkpoint:
        student = Student.load(request.checkpoint, vocabulary=request.vocab)
        return student.config, student.params
    size = vocabulary.load("t5", request.vocab).vocab_size
    # Rounded up as T5 does it: 32,100 becomes 32,128.
    config = dataclasses.replace(request.config, vocab_size=-(-size // 128) * 128)
    return config, network.init_parameters(config, SEED)


def _write_weights(path: str, params: Any) -> None:
    import jax

    named = {
        jax.tree_util.keystr(keys, simple=True, separator="/"): np.asarray(leaf, np.float32)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    np.savez(path, **named)
