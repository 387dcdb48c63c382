"""Counting what a program does: multiplications in a jaxpr, transfers in compiled HLO.

XLA's own cost analysis counts a loop's body once, however often it runs, and its `optimal_seconds`
comes out negative; here loops count as often as they run.
"""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.extend import core


def matmul_flops(jaxpr: core.Jaxpr) -> float:
    """Return the floating-point operations of all matrix products, over all devices.

    A product and its sum are two. A `scan` counts as often as it runs, a `while` loop once, of a
    `cond` the dearest branch.
    """
    total = 0.0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            operand, result = _shape(eqn.invars[0]), _shape(eqn.outvars[0])
            total += 2.0 * math.prod(result) * math.prod(operand[i] for i in contracted)
            continue
        inner = [matmul_flops(j) for j in _inside(eqn.params)]
        if eqn.primitive.name == "cond":
            total += max(inner)
        else:
            total += eqn.params.get("length", 1) * sum(inner) if inner else 0.0
    return total


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _inside(params: Mapping[str, Any]) -> Iterator[core.Jaxpr]:
    """Yield the jaxprs among an equation's parameters that it runs."""
    for leaf in jax.tree.leaves(dict(params), is_leaf=_is_jaxpr):
        if isinstance(leaf, core.ClosedJaxpr):
            yield leaf.jaxpr
        elif isinstance(leaf, core.Jaxpr):
            yield leaf


def _is_jaxpr(x: Any) -> bool:
    return isinstance(x, core.Jaxpr | core.ClosedJaxpr)


class Transfers(NamedTuple):
    """What each device sends to others in one run of a program.

    Attributes:
      sent: bytes that leave a device, by kind of collective.
      calls: how many collectives of each kind run.
    """

    sent: dict[str, float]
    calls: dict[str, int]

    @property
    def total(self) -> float:
        """Bytes that leave a device."""
        return sum(self.sent.values())


_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "ragged-all-to-all",
)
_OPERATION = re.compile(rf"= (.+?) ({'|'.join(_COLLECTIVES)})(-start)?\(")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_LOOP = re.compile(r"\bwhile\(.*condition=%?([\w.-]+), body=%?([\w.-]+)")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition)=%?([\w.-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_NAME = re.compile(r"[\w.-]+")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CONSTANT = re.compile(r"%?([\w.-]+) = s32\[\]\S* constant\((\d+)\)")
_BOUND = re.compile(r"^\s*ROOT .* compare\(%?[\w.-]+, %?([\w.-]+)\), direction=LT")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")
_CHANNEL = re.compile(r"\b(channel_id=\d+)")
_LISTED = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_IOTA = re.compile(r"replica_groups=\[(\d+),(\d+)\]")
_AXES = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}")


def transfers(hlo: str, devices: int) -> Transfers:
    """Return what compiled HLO (its text, of one device) sends between devices.

    A ring over n devices: an all-reduce of s bytes sends 2 (n - 1) / n s, a gather of s, a scatter
    of s and an exchange of s each (n - 1) / n s, and a permutation s. A loop counts as often as
    XLA knows it to run, or once.

    Args:
      hlo: `compiled.as_text()`.
      devices: of the program: the size of a group that names none.
    """
    own: dict[str, list[tuple[str, float, str]]] = collections.defaultdict(list)
    calls: dict[str, list[tuple[str, str, str]]] = collections.defaultdict(list)
    constants: dict[str, dict[str, int]] = collections.defaultdict(dict)
    bounds: dict[str, str] = {}
    entry = here = ""
    for line in hlo.splitlines():
        if begins := _COMPUTATION.match(line):
            here = begins[1]
            entry = here if line.startswith("ENTRY") else entry
            continue
        if found := _OPERATION.search(line):
            channel = _CHANNEL.search(line)
            name = channel[1] if channel else f"{here}:{len(own[here])}"
            own[here].append((found[2], _sent(found, line, devices), name))
        for name, value in _CONSTANT.findall(line):
            constants[here][name] = int(value)
        if bound := _BOUND.match(line):
            bounds[here] = bound[1]
        loop, trips = _LOOP.search(line), _TRIPS.search(line)
        branches = [name for found in _BRANCHES.findall(line) for name in _NAME.findall(found)]
        for name in (*_CALLED.findall(line), *branches):
            condition = loop[1] if loop and name == loop[2] else ""
            calls[here].append((name, condition, trips[1] if trips else ""))

    def runs(condition: str, trips: str) -> int:
        """Return how often a loop runs: as XLA says, or by its comparison with a constant."""
        bound = constants[condition].get(bounds.get(condition, ""), 1)
        return 1 if not condition else int(trips) if trips else bound

    counted = {
        caller: [(name, runs(condition, trips)) for name, condition, trips in each]
        for caller, each in calls.items()
    }
    times: dict[str, int] = {}
    _walk(entry, 1, own, counted, times)
    sent: dict[str, float] = collections.defaultdict(float)
    count: dict[str, int] = collections.defaultdict(int)
    for kind, size, name in {each[2]: each for found in own.values() for each in found}.values():
        if name in times:
            sent[kind] += times[name] * size
            count[kind] += times[name]
    return Transfers(dict(sent), dict(count))


def _walk(here, runs, own, calls, times) -> None:
    """Note how often each collective runs in what `here` calls, itself called `runs` times.

    A TPU's compiler spreads a collective over the operations that it overlaps with: the same one,
    by its channel, then stands in many places and runs once.
    """
    for _, _, name in own.get(here, ()):
        times[name] = max(times.get(name, 0), runs)
    for inner, again in calls.get(here, ()):
        _walk(inner, runs * again, own, calls, times)


def _sent(found: re.Match[str], line: str, devices: int) -> float:
    kind = found[2]
    sizes = [_bytes(*array) for array in _ARRAY.findall(found[1])]
    if found[3] and kind == "collective-permute":
        sizes = sizes[:1]  # beside it stand the result and what the hardware waits on
    elif found[3] and kind != "all-reduce":
        # What begins a gather returns its operands beside its results; the larger half is sent.
        half = len(sizes) // 2
        sizes = max(sizes[:half], sizes[half : 2 * half], key=sum)
    n = _group(line, devices)
    share = (n - 1) / n
    factor = {
        "all-reduce": 2 * share,
        "reduce-scatter": n - 1,  # its result is a share of what is summed
        "collective-permute": 1.0,
    }.get(kind, share)
    return factor * sum(sizes)


def _group(line: str, devices: int) -> int:
    """Return how many devices a collective runs over, in any of XLA's three ways to say it."""
    if listed := _LISTED.search(line):
        return max(1, len(listed[1].split(",")))
    if iota := _IOTA.search(line):
        return int(iota[2])
    if axes := _AXES.search(line):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", axes[1]))
        # An axis that is taken in part says so: 'axis':(what lies before)size.
        named = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", axes[2])
        return math.prod(int(part or sizes[name]) for name, part in named)
    if "replica_groups=" in line and "replica_groups={}" not in line:
        raise ValueError(f"groups of an unknown form: {line[:400]}")
    return devices


def _bytes(kind: str, shape: str) -> int:
    bits = 8 if kind == "pred" else int(re.findall(r"\d+", kind)[0])
    return math.prod(int(n) for n in shape.split(",") if n) * bits // 8


_ALL = re.compile(r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm")
_BETWEEN = re.compile(r"for HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM")


def memory_wanted(message: str, arguments: float) -> float | None:
    """Return the bytes that a program wanted of a device, from a compiler's refusal; else None.

    Args:
      message: of the TPU's compiler. It names all that was wanted, or what lies between arguments
        and results alone where that is too much by itself.
      arguments: bytes of a device that the program is given.
    """
    for pattern, more in ((_ALL, 0.0), (_BETWEEN, arguments)):
        if found := pattern.search(message):
            return float(found[1]) * 1024.0 ** " KMGT".index(found[2] or " ") + more
    return None
