"""Weights to begin with: our own checkpoint, or Hugging Face's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etils import epath

from t5distill.errors import UserError
from t5distill.student import checkpoints
from t5distill.student.huggingface import load_huggingface


def loader(path: epath.PathLike) -> Callable[[Any], Any]:
    """Return what reads the parameters at `path`, given a tree of shapes with shardings.

    Only parameters are read: steps and the optimizer begin anew.

    Args:
      path: a MODEL_DIR, one checkpoint in it, or a Hugging Face directory with config.json and
        safetensors.

    Raises:
      UserError: there is no such checkpoint, or it is of another network.
    """
    path = epath.Path(path)
    where = f"INITIAL_CHECKPOINT_PATH is {path}"
    if not path.exists():
        raise UserError(f"{where}, which does not exist")
    if (path / "checkpoint").exists() and not (path / "config.json").exists():
        raise UserError(
            f"{where}, a T5X checkpoint. This engine begins with its own or Hugging Face's; give a "
            "copy of the model from the Hugging Face hub (config.json and safetensors)"
        )
    if "model" in checkpoints.read_config(path):
        return lambda wanted: checkpoints.load_params(path, wanted=wanted)
    return lambda wanted: load_huggingface(path)[1]
