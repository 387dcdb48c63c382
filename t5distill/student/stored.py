"""Arrays that lie in a file: known by shape, read when they are wanted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
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
