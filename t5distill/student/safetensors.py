"""Read the safetensors format: eight bytes of header length, a JSON header, raw little-endian data.

The reader is so short that the core needs no package for it; unlike that package's numpy reader, it
knows bfloat16 (through ml_dtypes, which JAX brings along).
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import ml_dtypes
import numpy as np

from t5distill.errors import UserError

_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
# The format's own limit; a larger number means that the file is something else.
_MAX_HEADER_BYTES = 100_000_000


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the arrays of one `.safetensors` file, memory-mapped and read-only.

    Raises:
      UserError: the file is missing, cut off, or no safetensors file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; wanted safetensors weights")
    size = path.stat().st_size
    with open(path, "rb") as f:
        header_bytes = int.from_bytes(f.read(8), "little")
        if size < 8 or header_bytes > min(size - 8, _MAX_HEADER_BYTES):
            raise UserError(f"{path}: {size} bytes, not a whole safetensors file; fetch it again")
        raw = f.read(header_bytes)
    try:
        header = json.loads(raw)
        entries = {k: v for k, v in header.items() if k != "__metadata__"}
    except (ValueError, AttributeError) as e:
        raise UserError(f"{path}: no safetensors header: {e}") from e
    data = np.memmap(path, np.uint8, "r", 8 + header_bytes) if size > 8 + header_bytes else b""
    return {name: _array(path, name, entry, data) for name, entry in entries.items()}


def read_directory(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the arrays of `model.safetensors`, or of all shards named in its index.

    Raises:
      UserError: there are no such weights in the directory, or a shard is missing or damaged.
    """
    path = pathlib.Path(path)
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        if not (path / "model.safetensors").is_file() and list(path.glob("pytorch_model*.bin")):
            raise UserError(
                f"{path}: holds PyTorch pickles only, wanted model.safetensors; load it once with "
                "transformers and call save_pretrained, which writes safetensors"
            )
        return read_arrays(path / "model.safetensors")
    try:
        places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = {name: read_arrays(path / name) for name in sorted(set(places.values()))}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise UserError(f"{index}: not an index of safetensors shards: {e!r}") from e
    lost = [name for name, shard in places.items() if name not in shards[shard]]
    if lost:
        raise UserError(f"{index}: says that {places[lost[0]]} holds {lost[0]}, but it does not")
    return {name: shards[shard][name] for name, shard in places.items()}


def _array(path: pathlib.Path, name: str, entry: Any, data: Any) -> np.ndarray:
    """Return one entry's array; the header comes from outside, so every number is checked."""
    try:
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        shape = tuple(int(n) for n in entry["shape"])
        begin, end = (int(n) for n in entry["data_offsets"])
        fits = 0 <= begin <= end <= len(data) and min(shape, default=0) >= 0
        if not fits or end - begin != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
            raise ValueError(f"shape {shape}, bytes {begin} to {end} of {len(data)}")
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(f"{path}: array {name} does not fit the file: {e}") from e
    return np.frombuffer(data[begin:end], dtype).reshape(shape)
