"""Whether programs fit a chip, and about how fast they can be there: a roofline.

A program takes at least as long as its operations do at the chip's peak, and about as long as its
traffic with memory and what it sends over the links, each alone (Williams et al. 2009). Where all
three overlap, the longest counts; where nothing does, their sum. Neither is a bound: XLA's count of
the traffic holds what stays in a core's own memory, a mesh's axis may have several of the torus's,
and small or oddly shaped products reach no peak.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from t5distill.plan.chips import Chip
from t5distill.plan.programs import Program
from t5distill.student.config import T5Config
from t5distill.student.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one chip makes of one program; seconds are of one update or one token of every row.

    Attributes:
      fits: whether the memory suffices; None where an estimate of it says no and what is kept
        would fit: simulated processors need more than a GPU.
      memory: bytes of a device that a program may use.
      compute: seconds at the chip's peak.
      traffic: seconds to read and write memory.
      links: seconds to send to other devices.
      hourly: dollars of all chips for an hour; None where no price is known.
    """

    fits: bool | None
    memory: float
    compute: float
    traffic: float
    links: float
    hourly: float | None

    @property
    def overlapped(self) -> float:
        """Seconds where everything overlaps."""
        return max(self.compute, self.traffic, self.links)

    @property
    def without_overlap(self) -> float:
        """Seconds where nothing does."""
        return self.compute + self.traffic + self.links

    @property
    def dollars(self) -> float | None:
        """Of one update or token where everything overlaps; None where no price is known."""
        return None if self.hourly is None else self.overlapped * self.hourly / 3600

    def figures(self) -> dict[str, Any]:
        """Return the fields and what follows from them."""
        followed = ("overlapped", "without_overlap", "dollars")
        return {**dataclasses.asdict(self), **{name: getattr(self, name) for name in followed}}


def estimate(
    program: Program, chip: Chip, devices: int, *, exact: bool, price: float | None = None
) -> Estimate:
    """Hold a program against a chip.

    Args:
      program: compiled, or refused as too large.
      chip: what runs it.
      devices: over which the program is spread.
      exact: whether the chip's own compiler has made the program.
      price: dollars of a chip and hour; by default its list price.
    """
    each = program.flops / devices
    compute = each / (chip.flops / chip.cores)
    traffic = program.accessed / (chip.bandwidth / chip.cores)
    links = program.transfers.total / (chip.ring / chip.cores) if program.transfers else 0.0
    each_hour = chip.dollars if price is None else price
    memory = chip.memory / chip.cores
    fits: bool | None = (
        not program.refused and program.memory is not None and program.memory <= memory
    )
    if not fits and not exact and program.arguments + program.beside <= memory:
        fits = None
    return Estimate(
        fits=fits,
        memory=memory,
        compute=compute,
        traffic=traffic,
        links=links,
        hourly=None if each_hour is None else each_hour * devices / chip.cores,
    )


def advice(
    program: Program, memory: float, config: T5Config, settings: Settings, mesh: tuple[int, int]
) -> list[str]:
    """Return what to change where a program does not fit, the likeliest first.

    Args:
      program: that does not fit.
      memory: bytes of a device.
      config: of the network.
      settings: of training.
      mesh: sizes of `data` and `model`.
    """
    data, model = mesh
    spread = f"a --mesh with more than {model} along model (MODEL_PARALLELISM)"
    if program.name == "decoding":
        return [spread, "fewer --decode_rows", "shorter --lengths (TASK_FEATURE_LENGTHS)"]
    found = []
    # Parameters and optimizer are there besides gradients of the same size as the parameters.
    if program.arguments * 1.5 > memory and settings.optimizer != "adafactor":
        found.append("--gin.OPTIMIZER=\"'adafactor'\", whose moments are vectors")
    if program.arguments * 1.5 > memory:
        found.append(f"{spread}: parameters, optimizer and gradients alone fill most of it")
    if config.dtype == "float32":
        found.append("--gin.DTYPE=\"'bfloat16'\", for activations of half the size")
    if config.remat == "none":
        found.append("--gin.REMAT=\"'full'\", which keeps one activation of each layer")
    found.append(f"--gin.MICROBATCHES={2 * settings.microbatches}, for half the rows at a time")
    if spread not in " ".join(found):
        found.append(f"a longer data axis than {data}, a smaller --batch, or {spread}")
    return found
