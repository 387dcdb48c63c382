"""Hugging Face's T5 on PyTorch as a contender: batches sorted by length, `generate`'s own cache."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from transformers.optimization import Adafactor

from benchmarks.workload import Turn, Workload, cores
from t5distill.student.huggingface import config_to_huggingface, to_huggingface

DISTRIBUTIONS = ("torch", "transformers")

_EOS = 1


def axes(phase: str, workload: Workload) -> dict[str, list[Any]]:
    """Return the settings to try, by name; the first of each is where the sweep begins.

    `bfloat16` keeps the weights in bfloat16 too, which costs accuracy in training; `autocast` keeps
    them in float32, as the JAX engines do.
    """
    if phase == "training":
        sizes = _within((8, 16, 32, 4), len(workload.examples))
        return {"dtype": ["bfloat16", "float32", "autocast"], "batch_size": sizes}
    return {
        "dtype": ["bfloat16", "float32"],
        "batch_size": _within((32, 16, 8, 4), len(workload.prompts)),
    }


def _within(sizes: Sequence[int], count: int) -> list[int]:
    """Return the sizes that fill a batch."""
    return [size for size in sizes if size <= count] or [count]


def _model(workload: Workload, dtype: str) -> transformers.T5ForConditionalGeneration:
    """Build the network with the workload's weights."""
    torch.set_num_threads(cores())
    config = workload.config
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(**config_to_huggingface(config))
    )
    if not config.logits_via_embedding:
        # transformers 5 ties the two whatever the configuration says.
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    arrays = to_huggingface(workload.load_weights(), config)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    copies = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    if config.logits_via_embedding:
        copies.add("lm_head.weight")
    assert set(missing) <= copies and not unexpected, (missing, unexpected)
    return model.to(torch.bfloat16) if dtype == "bfloat16" else model


def _batches(lengths: Sequence[Any], size: int) -> list[list[int]]:
    """Return indices in batches of like lengths, longest first."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True)
    return [order[i : i + size] for i in range(0, len(order), size)]


def _padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def training(workload: Workload, setting: dict[str, Any]) -> Callable[[], Turn]:
    """Warm up on one batch; return a turn of one pass over the examples."""
    model = _model(workload, setting["dtype"]).train()
    optimizer = Adafactor(
        model.parameters(), lr=1e-3, scale_parameter=True, relative_step=False, warmup_init=False
    )
    autocast = setting["dtype"] == "autocast"
    # Targets first: a decoder position costs more than an encoder's.
    lengths = [(len(targets), len(inputs)) for inputs, targets in workload.examples]
    indices = _batches(lengths, setting["batch_size"])
    batches = []
    for batch in indices:
        inputs = _padded([workload.examples[i][0] for i in batch], 0)
        labels = _padded([workload.examples[i][1] for i in batch], -100)
        batches.append({"input_ids": inputs, "attention_mask": inputs > 0, "labels": labels})

    def backward(batch: dict[str, torch.Tensor]) -> float:
        with torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext():
            loss = model(**batch).loss
        loss.backward()
        return float(loss.detach())

    def turn() -> Turn:
        started = time.perf_counter()
        total, tokens = 0.0, 0
        for batch in batches:
            count = int((batch["labels"] >= 0).sum())
            total += backward(batch) * count
            tokens += count
            optimizer.step()
            optimizer.zero_grad()
        seconds = time.perf_counter() - started
        return Turn(seconds, tokens, updates=len(batches), loss=total / tokens)

    backward(batches[-1])
    optimizer.zero_grad()
    return turn


def decoding(workload: Workload, setting: dict[str, Any]) -> Callable[[], Turn]:
    """Warm up on one question; return a turn that decodes all questions."""
    model = _model(workload, setting["dtype"]).eval()
    lengths = [len(prompt) for prompt in workload.prompts]
    indices = _batches(lengths, setting["batch_size"])
    inputs = [_padded([workload.prompts[i] for i in batch], 0) for batch in indices]

    def generate(tokens: torch.Tensor) -> list[list[int]]:
        found = model.generate(
            input_ids=tokens,
            attention_mask=tokens > 0,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            max_new_tokens=workload.max_new_tokens,
        )
        return found[:, 1:].tolist()  # without the start token

    def turn() -> Turn:
        started = time.perf_counter()
        found = [generate(tokens) for tokens in inputs]
        seconds = time.perf_counter() - started
        outputs: list[list[int]] = [[] for _ in workload.prompts]
        tokens = 0
        for batch, rows in zip(indices, found, strict=True):
            for i, row in zip(batch, rows, strict=True):
                length = row.index(_EOS) if _EOS in row else len(row)
                tokens += min(length + 1, len(row))
                outputs[i] = row[:length]
        return Turn(seconds, tokens, outputs=outputs)

    generate(inputs[-1][:1])
    return turn
