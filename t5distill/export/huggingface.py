"""A student as a directory that `transformers` loads as it stands."""

from __future__ import annotations

import json
import math
import pathlib
import shutil
from typing import Any

import numpy as np
from tqdm import tqdm

from t5distill import places
from t5distill.errors import UserError
from t5distill.export import tokenizer
from t5distill.formats import vocabulary
from t5distill.student.huggingface import config_to_huggingface, name_map, turned_around
from t5distill.student.safetensors import write_arrays
from t5distill.student.weights import Weights

# By the name of a dtype: as safetensors spells it, and its bytes.
DTYPES = {"float32": ("F32", 4), "bfloat16": ("BF16", 2), "float16": ("F16", 2)}
# Of our config.json, what a student needs to be asked questions, and where its data came from.
_TOLD = ("task", "style", "task_feature_lengths", "data")
_DEFAULT_LENGTHS = {"inputs": 512, "targets": 256}


def write_weights(weights: Weights, out: pathlib.Path, *, dtype: str, shard_bytes: int) -> int:
    """Write the arrays, one in memory at a time, in shards of about so many bytes.

    Returns:
      How many bytes the arrays take.
    """
    held = {
        name: turned_around(path, weights.arrays[path])
        for path, name in name_map(weights.config).items()
    }
    spelt, size = DTYPES[dtype]
    sizes = {name: size * math.prod(array.shape) for name, array in held.items()}
    shards: list[list[str]] = [[]]
    for name in held:
        if shards[-1] and sum(sizes[n] for n in (*shards[-1], name)) > shard_bytes:
            shards.append([])
        shards[-1].append(name)
    with tqdm(total=sum(sizes.values()), desc="export", unit="B", unit_scale=True) as bar:

        def read(name: str) -> np.ndarray:
            array = np.asarray(held[name].read(), np.float32)
            if dtype == "float16" and not np.isfinite(array.astype(np.float16)).all():
                raise UserError(f"{name} has numbers beyond float16; wanted bfloat16 or float32")
            bar.update(sizes[name])
            return array

        places = {}
        for i, shard in enumerate(shards, start=1):
            file = "model.safetensors"
            if len(shards) > 1:
                file = f"model-{i:05}-of-{len(shards):05}.safetensors"
            write_arrays(out / file, {name: held[name].shape for name in shard}, spelt, read)
            places |= dict.fromkeys(shard, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": places}
        _write(out / "model.safetensors.index.json", index)
    return sum(sizes.values())


def write_configs(weights: Weights, out: pathlib.Path, *, dtype: str, kind: str) -> None:
    """Write config.json, which says under `t5distill` what ours does, and generation_config.json.

    Args:
      weights: what they are of.
      out: the directory.
      dtype: of the arrays.
      kind: `t5`, `mt5` or `byt5`, the vocabulary.
    """
    special = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    told = {key: weights.record[key] for key in _TOLD if key in weights.record}
    told["vocab"] = {"name": kind}
    config = {**config_to_huggingface(weights.config), "dtype": dtype, "t5distill": told}
    _write(out / "config.json", config)
    generation = {**special, "do_sample": False, "max_new_tokens": _lengths(weights)["targets"]}
    _write(out / "generation_config.json", generation)


def write_tokenizer(
    weights: Weights, out: pathlib.Path, *, kind: str, model: pathlib.Path | None
) -> None:
    """Write what `transformers.AutoTokenizer` reads.

    Args:
      weights: whose lengths bound an input.
      out: the directory.
      kind: `t5`, `mt5` or `byt5`.
      model: the SentencePiece model; None for `byt5`.
    """
    length = _lengths(weights)["inputs"]
    if model is None:
        files = tokenizer.byte_tokenizer_files(length)
    else:
        with places.fetched(model) as local:
            files = tokenizer.tokenizer_files(local, kind=kind, length=length)
            shutil.copyfile(local, out / vocabulary.SAVED_MODEL)
    for name, content in files.items():
        _write(out / name, content)


def _lengths(weights: Weights) -> dict[str, int]:
    return {**_DEFAULT_LENGTHS, **(weights.record.get("task_feature_lengths") or {})}


def _write(path: pathlib.Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
