"""Arrays that lie in a file: known by shape, read when they are wanted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from t5distill.errors import UserError

# Where a parameter is in the tree: ("decoder", "layers_0", "mlp", "wo", "kernel").
ParameterPath = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array in a file.

    Attributes:
      name: the file and the array, for people.
      shape: of the whole.
      dtype: in the file.
      values: from an index (`...` or slices) to what is there.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    values: Callable[[Any], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole in the file's dtype."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, index: Any = ...) -> np.ndarray:
        """Return a part of the array in the file's dtype.

        Raises:
          UserError: the file is damaged.
        """
        try:
            return np.asarray(self.values(index))
        except Exception as e:  # each format's library has errors of its own
            raise UserError(f"{self.name} cannot be read: {brief(e)}") from e


def brief(error: Exception) -> str:
    """Return what a library says of a damaged file, without the settings it was opened with."""
    return f"{str(error).split(' [tensorstore_spec')[0][:400]}; fetch the checkpoint again"


def at(tree: Mapping[str, Any], path: ParameterPath) -> Any:
    """Return the leaf of a tree at a path."""
    node: Any = tree
    for part in path:
        node = node[part]
    return node


def nested(leaves: Mapping[ParameterPath, Any]) -> dict[str, Any]:
    """Return the tree that has each value at its path."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    return tree
