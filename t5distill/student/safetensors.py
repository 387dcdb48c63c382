"""The safetensors format: eight bytes of header length, a JSON header, raw little-endian data.

The reader is so short that the core needs no package for it; unlike that package's numpy reader, it
knows bfloat16 (through ml_dtypes, which JAX brings along).
"""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from t5distill.errors import UserError
from t5distill.places import is_remote, place
from t5distill.student.stored import Stored

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


def open_arrays(path: str | os.PathLike[str]) -> dict[str, Stored]:
    """Return the arrays of one `.safetensors` file, unread.

    Raises:
      UserError: the file is missing, cut off, or no safetensors file.
    """
    path = place(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; wanted safetensors weights")
    with path.open("rb") as f:
        size = f.seek(0, 2) or f.tell()
        f.seek(0)
        header_bytes = int.from_bytes(f.read(8), "little")
        if size < 8 or header_bytes > min(size - 8, _MAX_HEADER_BYTES):
            raise UserError(f"{path}: {size} bytes, not a whole safetensors file; fetch it again")
        raw = f.read(header_bytes)
    try:
        header = json.loads(raw)
        entries = {k: v for k, v in header.items() if k != "__metadata__"}
    except (ValueError, AttributeError) as e:
        raise UserError(f"{path}: no safetensors header: {e}") from e
    begin = 8 + header_bytes
    return {name: _stored(path, name, entry, begin, size) for name, entry in entries.items()}


def open_directory(path: str | os.PathLike[str]) -> dict[str, Stored]:
    """Return the arrays of `model.safetensors`, or of all shards named in its index.

    Raises:
      UserError: there are no such weights in the directory, or a shard is missing or damaged.
    """
    path = place(path)
    index = path / "model.safetensors.index.json"
    # transformers takes the one file where both are there.
    if not index.is_file() or (path / "model.safetensors").is_file():
        if not (path / "model.safetensors").is_file() and list(path.glob("pytorch_model*.bin")):
            raise UserError(
                f"{path}: holds PyTorch pickles only, wanted model.safetensors; load it once with "
                "transformers and call save_pretrained, which writes safetensors"
            )
        return open_arrays(path / "model.safetensors")
    try:
        places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = {name: open_arrays(path / name) for name in sorted(set(places.values()))}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise UserError(f"{index}: not an index of safetensors shards: {e!r}") from e
    lost = [name for name, shard in places.items() if name not in shards[shard]]
    if lost:
        raise UserError(f"{index}: says that {places[lost[0]]} holds {lost[0]}, but it does not")
    return {name: shards[shard][name] for name, shard in places.items()}


def _stored(path: pathlib.Path, name: str, entry: Any, start: int, size: int) -> Stored:
    """Return one entry's array; the header comes from outside, so every number is checked."""
    try:
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        shape = tuple(int(n) for n in entry["shape"])
        begin, end = (int(n) for n in entry["data_offsets"])
        fits = 0 <= begin <= end <= size - start and min(shape, default=0) >= 0
        if not fits or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"shape {shape}, bytes {begin} to {end} of {size - start}")
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(f"{path}: array {name} does not fit the file: {e}") from e

    def values(index: Any) -> np.ndarray:
        if begin == end:
            return np.empty(shape, dtype)[index]
        # Mapped for this one reading: what stays mapped counts as memory in use.
        count = math.prod(shape)
        if is_remote(path):
            with path.open("rb") as f:
                f.seek(start + begin)
                return np.frombuffer(f.read(end - begin), dtype).reshape(shape)[index].copy()
        return np.array(np.memmap(path, dtype, "r", start + begin, count).reshape(shape)[index])

    return Stored(f"{path}: array {name}", shape, dtype, values)


def write_arrays(
    path: str | os.PathLike[str],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str,
    read: Callable[[str], np.ndarray],
) -> None:
    """Write one `.safetensors` file, reading one array at a time.

    Args:
      path: the file; what was there is replaced once all is written.
      shapes: of each array, by its name, in the file's order.
      dtype: of all, in the format's spelling: `F32`, `BF16` or `F16`.
      read: returns an array by name; it is cast.
    """
    kind = np.dtype(_DTYPES[dtype])
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * kind.itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of eight bytes
    path = pathlib.Path(path)
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            array = np.asarray(read(name), kind, order="C")
            if array.shape != tuple(shape):
                raise ValueError(f"{name} has shape {array.shape}, announced was {shape}")
            f.write(array.reshape(-1).view(np.uint8).data)
    part.replace(path)
