"""Devices that are not there: a TPU slice as its compiler knows it, or simulated ones."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from typing import Any, NamedTuple

from t5distill.errors import UserError
from t5distill.plan.chips import Chip, topology


class Target(NamedTuple):
    """What programs are compiled for.

    Attributes:
      mesh: axes `data` and `model` over the devices.
      exact: whether the chip's own compiler is asked; else its memory is an estimate.
      name: of the devices, for people.
    """

    mesh: Any
    exact: bool
    name: str


def has_tpu_compiler() -> bool:
    """Say whether libtpu is installed; nothing is imported."""
    return importlib.util.find_spec("libtpu") is not None


def set_environment() -> None:
    """Tell libtpu that no TPU is meant; has to come before JAX is imported."""
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    # No TPU is touched, so a process that uses one, or another plan, is not in the way.
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    # Without them libtpu looks for a TPU's host, and writes that there is none.
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")


def simulate(count: int) -> None:
    """Let JAX see that many simulated processors only; has to come before it shows a device.

    Raises:
      UserError: it has shown others.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")
    with contextlib.suppress(RuntimeError):  # where devices have been shown already
        jax.config.update("jax_num_cpu_devices", count)
    shown = jax.device_count()
    if shown != count:
        raise UserError(
            f"JAX shows {shown} simulated devices, wanted {count}: it was in use before, or "
            "XLA_FLAGS asks for others; unset that, and call plan in a process of its own"
        )


def target(kind: Chip | None, shape: tuple[int, int]) -> Target:
    """Return the mesh of `shape` (data, model) to compile for, after `simulate`.

    Args:
      kind: a TPU whose compiler is installed gives its own slice, all else simulated processors.
      shape: sizes of the axes.

    Raises:
      UserError: no slice of that TPU has so many devices.
    """
    import jax
    from jax.experimental import topologies

    from t5distill.student.sharding import make_mesh

    count, model = shape[0] * shape[1], shape[1]
    if kind is None or not kind.is_tpu or not has_tpu_compiler():
        mesh = make_mesh(model, jax.devices()[:count])
        return Target(mesh, exact=False, name=f"{count} simulated processors")
    slice_shape = topology(kind, count)
    name = f"{kind.name}:{'x'.join(map(str, slice_shape))}"
    options: dict[str, Any] = {}
    if slice_shape[:2] == (1, 1):
        options["chips_per_host_bounds"] = (1, 1, 1)
    if kind.name == "v4":
        # Both cores of a chip are one device, as on Cloud TPU.
        options["chip_config_name"] = "megacore"
    described = topologies.get_topology_desc(platform="tpu", topology_name=name, **options)
    return Target(make_mesh(model, described.devices), exact=True, name=name)
