"""The host's side of slot decoding: which example is decoded in which slot, and when.

A fixed number of slots is decoded together. Examples wait in order of input length, longest first,
so that the width of the encoder's output only shrinks; a slot whose row has finished takes the next
example. The device decodes a few tokens between two visits of the host, which reads back nothing
but the new tokens. Everything the host decides follows from those tokens, which are replicated, so
all processes of a pod decide alike.

Shapes are few, because each is compiled: the encoder's width comes from a short list of buckets,
the ring starts small and doubles when a row outgrows it, and when nothing waits any more and few
rows are left, they move to a quarter of the slots.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5distill.student import loop
from t5distill.student import slots as device
from t5distill.student.calculator import Calculator, Watch
from t5distill.student.config import T5Config
from t5distill.student.sampling import Sampling

# Tokens decoded on the device between two visits of the host.
STEPS = 16
FIRST_RING = 64
_SMALLEST_WIDTH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """One decoded sequence.

    Attributes:
      tokens: token ids without EOS.
      finished: whether EOS came before the limit.
      forced: how many values the calculator wrote; 0 without one.
      changed: of these, how many the student would have written otherwise.
    """

    tokens: list[int]
    finished: bool
    forced: int = 0
    changed: int = 0


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple that is no less than `value`."""
    return -(-value // multiple) * multiple


def width_bucket(length: int, *, fine: bool | None = None) -> int:
    """Return the padded width for inputs of `length` tokens: 32, 64, 96, 128, 192, 256, 384, ...

    Each is a compilation. A processor compiles soon and pays for every column of padding, so there
    the steps are half as wide (`fine`): 32, 48, 64, 80, 96, 112, 128, 160, ...
    """
    width = _SMALLEST_WIDTH
    while width < length:
        width *= 2
    fine = jax.default_backend() == "cpu" if fine is None else fine
    step = max(_SMALLEST_WIDTH // 2, width // 8) if fine else max(_SMALLEST_WIDTH, width // 4)
    return max(_SMALLEST_WIDTH, round_up(length, step))


def visit_steps(config: T5Config, rows: int) -> int:
    """Return how many tokens the device decodes between two visits with a calculator.

    What a row writes behind an equation before the host has looked is lost where its result was
    wrong; a visit costs a processor about as much as 60 million operations. So a network whose
    steps are large is visited at each of them, and no row ever goes back; others are visited as
    without a calculator. Results do not depend on it.
    """
    inner = config.num_heads * config.head_dim
    layer = config.emb_dim * (6 * inner + (1 + len(config.mlp_activations)) * config.mlp_dim)
    weights = config.num_decoder_layers * layer + config.emb_dim * config.vocab_size
    large = jax.default_backend() == "cpu" and rows * weights > 500e6
    return 1 if large else STEPS


def padded(rows: Sequence[Sequence[int]], count: int, width: int) -> np.ndarray:
    """Return int32 `[count, width]` tokens, 0 where there is none."""
    tokens = np.zeros((count, width), np.int32)
    for row, values in zip(tokens, rows, strict=False):
        row[: len(values)] = values
    return tokens


@dataclasses.dataclass(kw_only=True)
class Row:
    """What the host knows of a busy slot."""

    example: int
    sample: int
    tokens: list[int] = dataclasses.field(default_factory=list)
    watch: Watch | None = None
    waits: bool = False  # for the calculator, which has something to say before the next visit
    back: int = 0  # how many steps the device has gone too far


@dataclasses.dataclass(kw_only=True)
class Scheduler:
    """Moves examples from the queue through the encoder into slots, and outputs out of them."""

    params: Any
    config: T5Config
    inputs: Sequence[Sequence[int]]
    indices: Sequence[int]
    queue: collections.deque[int]
    samples: int
    max_tokens: int
    sampling: Sampling
    seed: int
    size: int
    shards: int
    swap: bool
    mesh: Mesh | None
    finish: Callable[[int, list[Output]], None]
    calculator: Calculator | None

    def __post_init__(self):
        self.rows: list[Row | None] = [None] * self.size
        # A quarter of the slots: full batches for the encoder, little waiting memory.
        self.batch = round_up(max(1, self.size // 4), self.shards)
        self.encoded: device.Encoded | None = None
        # (place in `encoded`, example, sample) of the rows that wait there.
        self.waiting: collections.deque[tuple[int, int, int]] = collections.deque()
        self.done: dict[int, dict[int, Output]] = {}
        # Examples that are finished and not yet reported: that is done while the device decodes.
        self.finished: list[tuple[int, list[Output]]] = []
        # A row needs as many places as it has tokens; outputs of a few tokens need few.
        self.ring = STEPS
        self.steps = STEPS if self.calculator is None else visit_steps(self.config, self.size)
        # The calculator's tables lie on the devices for good.
        self.tables = None
        if self.calculator is not None:
            place = None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())
            self.tables = jax.device_put((self.calculator.opens, self.calculator.masks), place)
        while self.ring < min(FIRST_RING, self.max_tokens):
            self.ring *= 2
        self.slots: device.Slots | None = None

    def decode(self) -> None:
        """Decode everything in the queue."""
        while self.queue or self.waiting or any(self.rows):
            if self.swap or not any(self.rows):
                self.refill()
            self.compact()
            self.visit()
        self.report()

    def refill(self) -> None:
        """Start waiting rows in the free slots."""
        free = [i for i, row in enumerate(self.rows) if row is None]
        while free and (self.waiting or self.queue):
            if not self.waiting:
                self.encode()
            count = min(len(free), len(self.waiting), self.batch)
            taken = [self.waiting.popleft() for _ in range(count)]
            self.admit(free[:count], taken)
            free = free[count:]

    def encode(self) -> None:
        """Encode the next examples of the queue; their samples share the result."""
        examples = [self.queue.popleft() for _ in range(min(self.batch, len(self.queue)))]
        rows = [self.inputs[i] for i in examples]
        width = width_bucket(max(len(row) for row in rows))
        tokens = padded(rows, self.batch, width)
        self.encoded = device.encode(self.params, tokens, config=self.config, mesh=self.mesh)
        self.waiting.extend((k, e, s) for k, e in enumerate(examples) for s in range(self.samples))
        self.fit_width(width)

    def fit_width(self, width: int) -> None:
        """Give the slots a width that holds `width` and every busy row."""
        if self.slots is None:
            self.slots = device.empty(
                config=self.config, mesh=self.mesh, rows=self.size, width=width, ring=self.ring
            )
            return
        busy = [width_bucket(len(self.inputs[row.example])) for row in self.rows if row]
        width = max([width, *busy])
        # Only by half or more: each width of the decoding loop is a compilation of its own.
        if width <= self.slots.visible.shape[1] // 2:
            self.slots = device.narrow(self.slots, mesh=self.mesh, width=width)

    def admit(self, places: list[int], taken: list[tuple[int, int, int]]) -> None:
        """Put the waiting rows `taken` into the free slots `places`."""
        assert self.slots is not None and self.encoded is not None
        rows = np.full(self.batch, self.size, np.int32)
        sources = np.zeros(self.batch, np.int32)
        names = np.zeros((2, self.batch), np.int32)
        for i, (place, (source, example, sample)) in enumerate(zip(places, taken, strict=True)):
            rows[i], sources[i] = place, source
            names[:, i] = self.indices[example], sample
            watch = Watch(calculator=self.calculator) if self.calculator else None
            self.rows[place] = Row(example=example, sample=sample, watch=watch)
        seed = np.uint32(self.seed % 2**32)
        self.slots = device.admit(
            self.slots, self.encoded, rows, sources, names, seed, mesh=self.mesh
        )

    def compact(self) -> None:
        """Once nothing waits, move the last rows to a quarter of the slots, and again."""
        busy = [i for i, row in enumerate(self.rows) if row]
        size = self.smaller()
        if self.queue or self.waiting or len(busy) > size or size == self.size:
            return
        assert self.slots is not None
        rows = np.full(size, self.size, np.int32)
        rows[: len(busy)] = busy
        self.slots = device.select(self.slots, rows, mesh=self.mesh)
        self.rows = [self.rows[i] for i in busy] + [None] * (size - len(busy))
        self.size = size

    def smaller(self) -> int:
        """Return the next smaller number of slots; below eight a step costs no less."""
        return min(self.size, round_up(max(8, self.size // 4), self.shards))

    def visit(self) -> None:
        """Let the device decode, and take in what it wrote."""
        assert self.slots is not None
        longest = max(len(row.tokens) for row in self.rows if row)
        # No row outgrows the ring during the visit, nor does any need more than `max_tokens`; but
        # one that goes back needs the keys that it had before it ran on to the end of a visit.
        needed = longest + self.steps
        if (needed if self.calculator else min(needed, self.max_tokens)) > self.ring:
            self.ring *= 2
            self.slots = device.grow(self.slots, mesh=self.mesh, ring=self.ring)
        busy = sum(row is not None for row in self.rows)
        if not self.swap:
            floor = 0
        elif self.queue or self.waiting:
            # Worth a visit: an eighth of the slots is free.
            floor = busy - max(1, self.size // 8)
        else:
            floor = self.smaller() if self.smaller() < min(self.size, busy) else 0
        forced = self.forced()
        self.slots, emitted, steps = loop.run(
            self.params,
            self.slots,
            np.int32(self.max_tokens),
            np.int32(floor),
            forced,
            config=self.config,
            mesh=self.mesh,
            sampling=self.sampling,
            max_steps=self.steps,
            redraws=forced is not None and bool(forced.plan[:, 1].any()),
        )
        self.report()
        count = int(steps)
        self.collect(np.asarray(emitted)[:, :count])

    def forced(self) -> loop.Forced | None:
        """Return what the calculator has decided for the next visit; rewind the rows it changes."""
        if self.tables is None:
            return None
        plan = np.full((self.size, self.steps + 2), -1, np.int32)
        plan[:, :2] = 0
        back, last = np.zeros((2, self.size), np.int32)
        for i, row in enumerate(self.rows):
            if row is None or row.watch is None or not row.waits:
                continue
            watch, queue = row.watch, row.watch.queue[: self.steps]
            plan[i, :2] = watch.fresh, watch.mask if watch.again else 0
            plan[i, 2 : 2 + len(queue)] = queue
            back[i], last[i] = row.back, row.tokens[-1] if row.tokens else 0
            row.back = 0
        if back.any():
            assert self.slots is not None
            self.slots = loop.rewind(self.slots, back, last, mesh=self.mesh)
        return loop.Forced(plan, *self.tables)

    def collect(self, emitted: np.ndarray) -> None:
        """Append the new tokens `[slots, steps]`, and free the slots of finished rows."""
        changed, calls = emitted < 0, {}
        if self.calculator is not None:
            emitted = np.where(changed, ~emitted, emitted)
            for i, place in np.argwhere(self.calculator.triggers[emitted]).tolist():
                calls.setdefault(i, []).append(place)
        tokens, count = emitted.tolist(), emitted.shape[1]
        for i, row in enumerate(self.rows):
            if row is None:
                continue
            before, new = len(row.tokens), tokens[i]
            del new[self.max_tokens - before :]
            finished = device.EOS in new
            if finished:
                del new[new.index(device.EOS) + 1 :]
            row.tokens += new
            if (watch := row.watch) is not None:
                if not row.waits and i not in calls:
                    watch.skip(len(new))
                else:
                    others = changed[i, : len(new)].tolist()
                    place = watch.read(row.tokens, others, calls.get(i, ()))
                    row.waits = place is not None or not watch.idle
                    if place is not None:
                        row.back = before + count - place
                        del row.tokens[place:]
                        continue
            if finished:
                row.tokens.pop()
            if finished or len(row.tokens) == self.max_tokens:
                self.rows[i] = None
                self.store(row, finished)

    def store(self, row: Row, finished: bool) -> None:
        """Keep a finished row; its example is finished when all samples are there."""
        found = self.done.setdefault(row.example, {})
        counts = (row.watch.forced, row.watch.changed) if row.watch else (0, 0)
        found[row.sample] = Output(
            tokens=row.tokens, finished=finished, forced=counts[0], changed=counts[1]
        )
        if len(found) == self.samples:
            del self.done[row.example]
            self.finished.append((row.example, [found[s] for s in range(self.samples)]))

    def report(self) -> None:
        """Hand over the examples that have been finished since the last time."""
        finished, self.finished = self.finished, []
        for example, outputs in finished:
            self.finish(example, outputs)
