"""The accelerators that plans are made for: what their makers say of them."""

from __future__ import annotations

import dataclasses
import math

from t5distill.errors import UserError, suggest

GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One kind of accelerator; all figures are of one chip, from its maker's data sheet.

    Attributes:
      name: as `--chip` takes it, and JAX's topologies where it is a TPU.
      flops: dense bfloat16 operations per second.
      memory: bytes that a program may use: of a TPU what its compiler allows, of a GPU what JAX
        takes where XLA_PYTHON_CLIENT_MEM_FRACTION is .92, as scripts/worker.sh sets it.
      bandwidth: bytes per second between the chip and its memory.
      ring: bytes per second that a chip sends to its neighbours in a ring: over the two links along
        one axis of a TPU's torus, over all of NVLink or PCI Express of a GPU.
      cores: devices that JAX shows for a chip.
      axes: of a TPU's torus, 2 or 3; 0 for a GPU.
      sizes: the fewest and the most chips of a slice; of GPUs, what NVLink joins in a host.
      dollars: list price of an hour, on demand in the United States, where one is known.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    ring: float
    cores: int = 1
    axes: int = 0
    sizes: tuple[int, int] = (1, 8)
    dollars: float | None = None

    @property
    def is_tpu(self) -> bool:
        """Whether programs can be compiled for it without one."""
        return self.axes > 0


def _tpu(name: str, axes: int, tera: float, gib: float, gb_s: float, link: float, **more):
    # Two links along an axis, `link` GB/s each, one way.
    return Chip(
        name=name,
        axes=axes,
        flops=tera * 1e12,
        memory=gib * GIB,
        bandwidth=gb_s * 1e9,
        ring=2 * link * 1e9,
        **more,
    )


def _gpu(name: str, tera: float, gb: float, gb_s: float, one_way: float) -> Chip:
    return Chip(
        name=name,
        flops=tera * 1e12,
        memory=0.92 * gb * 1e9,
        bandwidth=gb_s * 1e9,
        ring=one_way * 1e9,
    )


# TPU memory is what their compiler lets a program use; prices are those of 2025.
CHIPS = {
    chip.name: chip
    for chip in (
        _tpu("v3", 2, 123, 30.96, 900, 82, cores=2, sizes=(4, 1024), dollars=2.00),
        _tpu("v4", 3, 275, 30.75, 1228, 50, sizes=(4, 4096), dollars=3.22),
        _tpu("v5e", 2, 197, 15.75, 819, 50, sizes=(1, 256), dollars=1.20),
        _tpu("v5p", 3, 459, 95.74, 2765, 100, sizes=(4, 4096), dollars=4.20),
        _tpu("v6e", 2, 918, 31.25, 1638, 100, sizes=(1, 256), dollars=2.70),
        _gpu("a100-40", 312, 40, 1555, 300),
        _gpu("a100-80", 312, 80, 2039, 300),
        _gpu("h100", 989, 80, 3350, 450),
        _gpu("h200", 989, 141, 4800, 450),
        _gpu("b200", 2250, 180, 8000, 900),
        _gpu("l4", 121, 24, 300, 32),
    )
}


def chip(name: str) -> Chip:
    """Return the chip of that name; raise UserError for another."""
    if name not in CHIPS:
        raise UserError(f"--chip is {name!r}; {suggest(name, CHIPS)}")
    return CHIPS[name]


def topology(kind: Chip, devices: int) -> tuple[int, ...]:
    """Return the shape, in chips, of the slice with that many devices, as even as may be.

    Raises:
      UserError: no slice has that many.
    """
    chips, rest = divmod(devices, kind.cores)
    least, most = kind.sizes
    if rest or not least <= chips <= most or chips & (chips - 1) or chips == 2:
        few = "1, 4" if least == 1 else f"{least}"
        each = f" of {kind.cores} devices" if kind.cores > 1 else ""
        raise UserError(
            f"--mesh has {devices} devices; a slice of {kind.name} has {few}, 8, 16, ... {most:,} "
            f"chips{each}"
        )
    if kind.axes == 3 and chips < 8:
        return (2, 2, 1)
    power = int(math.log2(chips))
    shape = [2 ** (power // kind.axes)] * kind.axes
    for i in range(power % kind.axes):
        shape[-1 - i] *= 2
    return tuple(shape)
