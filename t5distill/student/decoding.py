"""Decoding many examples: the host's side of slot decoding, and the public `generate_tokens`.

A fixed number of slots is decoded together. Examples wait in order of input length, longest first,
so that the width of the encoder's output only shrinks; a slot whose row has finished takes the next
example. The device decodes up to `_STEPS` tokens between two visits of the host, which reads back
nothing but the new tokens. Everything the host decides follows from those tokens, which are
replicated, so all processes of a pod decide alike.

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
from jax.sharding import Mesh

from t5distill.errors import UserError
from t5distill.student import slots as device
from t5distill.student.beam import beam_search
from t5distill.student.config import T5Config
from t5distill.student.sampling import Sampling

# Tokens decoded on the device between two visits of the host.
_STEPS = 16
_FIRST_RING = 64
_SMALLEST_WIDTH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """One decoded sequence: token ids without EOS, and whether EOS came before the limit."""

    tokens: list[int]
    finished: bool


Progress = Callable[[int, list[Output]], None]


def generate_tokens(
    params: Any,
    config: T5Config,
    inputs: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    beam_size: int = 1,
    seed: int = 0,
    indices: Sequence[int] | None = None,
    slots: int | None = None,
    swap: bool = True,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> list[list[Output]]:
    """Decode `num_samples` outputs for each input.

    What an input yields depends on itself, the settings, `seed` and its index, and never on the
    other inputs, on the order, on `slots` or on the mesh (up to the rounding of float32: a tie
    between two tokens within rounding may fall either way).

    Args:
      params: parameter tree as `network.parameters` gives it, sharded over `mesh` at will.
      config: the network's shape.
      inputs: token ids of each example exactly as the encoder is to see them: T5's inputs end with
        EOS (id 1), and nothing is added here.
      max_tokens: the longest output, EOS included.
      num_samples: outputs for each input; with `beam_size` above 1 the best beams, at most as many.
      temperature: 0 for greedy.
      top_k: see `sampling.Sampling`.
      top_p: see `sampling.Sampling`.
      beam_size: above 1, beam search (`beam.beam_search`) instead of sampling.
      seed: of sampling.
      indices: the number of each input in the sampling key; its position by default. A caller that
        decodes the rest of a set gives the original positions, and gets the same texts.
      slots: rows decoded together; by default 32 on CPU and 128 for each device on the mesh's data
        axis elsewhere. Rounded up to what the mesh divides, and down to what is needed.
      swap: False keeps finished rows in their slots until all have finished (for comparison only).
      mesh: axes `data` and `model`, or None for one device.
      progress: called with an input's position and its outputs as soon as the last one is done.

    Returns:
      For each input its outputs, in the order of the samples (beams: best first).

    Raises:
      UserError: a setting is out of range.
      ValueError: an input is empty.
    """
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    _check(inputs, max_tokens=max_tokens, num_samples=num_samples, beam_size=beam_size)
    if beam_size > 1 and (num_samples > beam_size or temperature > 0):
        raise UserError(
            f"beam search gives at most beam_size = {beam_size} outputs at temperature 0, wanted "
            f"{num_samples} at {temperature}"
        )
    if not inputs:
        return []
    indices = range(len(inputs)) if indices is None else indices
    params = device.compute_copy(params, config=config)
    shards = 1 if mesh is None else mesh.shape["data"]
    wide = slots or (32 if jax.default_backend() == "cpu" else 128 * shards)
    # Greedy samples are all alike: one is decoded.
    copies = num_samples if beam_size == 1 and temperature == 0.0 else 1
    outputs: list[list[Output]] = [[] for _ in inputs]

    def finish(example: int, found: list[Output]) -> None:
        outputs[example] = found * copies
        if progress is not None:
            progress(example, outputs[example])

    common = {
        "params": params,
        "config": config,
        "inputs": inputs,
        "queue": collections.deque(sorted(range(len(inputs)), key=lambda i: (-len(inputs[i]), i))),
        "samples": num_samples // copies,
        "max_tokens": max_tokens,
        "shards": shards,
        "mesh": mesh,
        "finish": finish,
    }
    if beam_size > 1:
        _decode_beams(beam_size=beam_size, slots=wide, **common)
        return outputs
    size = _round_up(min(wide, len(inputs) * common["samples"]), shards)
    scheduler = _Scheduler(
        indices=indices, sampling=sampling, seed=seed, size=size, swap=swap, **common
    )
    scheduler.decode()
    return outputs


def _check(inputs: Sequence[Sequence[int]], **counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name} is {value}, wanted at least 1")
    for i, tokens in enumerate(inputs):
        if len(tokens) == 0:
            raise ValueError(f"input {i} is empty; an input holds at least EOS")


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def width_bucket(length: int) -> int:
    """Return the padded width for inputs of `length` tokens: 32, 64, 96, 128, 192, 256, 384, ..."""
    width = _SMALLEST_WIDTH
    while width < length:
        width *= 2
    # Halfway between two powers of two: padding stays below a third of the width.
    return width * 3 // 4 if length <= width * 3 // 4 and width > 2 * _SMALLEST_WIDTH else width


def padded(rows: Sequence[Sequence[int]], count: int, width: int) -> np.ndarray:
    """Return int32 `[count, width]` tokens, 0 where there is none."""
    tokens = np.zeros((count, width), np.int32)
    for row, values in zip(tokens, rows, strict=False):
        row[: len(values)] = values
    return tokens


@dataclasses.dataclass(kw_only=True)
class _Row:
    """What the host knows of a busy slot."""

    example: int
    sample: int
    tokens: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(kw_only=True)
class _Scheduler:
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

    def __post_init__(self):
        self.rows: list[_Row | None] = [None] * self.size
        # A quarter of the slots: full batches for the encoder, little waiting memory.
        self.batch = _round_up(max(1, self.size // 4), self.shards)
        self.encoded: device.Encoded | None = None
        # (place in `encoded`, example, sample) of the rows that wait there.
        self.waiting: collections.deque[tuple[int, int, int]] = collections.deque()
        self.done: dict[int, dict[int, Output]] = {}
        # A row needs as many places as it has tokens; outputs of a few tokens need few.
        self.ring = _STEPS
        while self.ring < min(_FIRST_RING, self.max_tokens):
            self.ring *= 2
        self.slots: device.Slots | None = None

    def decode(self) -> None:
        """Decode everything in the queue."""
        while self.queue or self.waiting or any(self.rows):
            if self.swap or not any(self.rows):
                self.refill()
            self.compact()
            self.visit()

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
            self.rows[place] = _Row(example=example, sample=sample)
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
        return min(self.size, _round_up(max(8, self.size // 4), self.shards))

    def visit(self) -> None:
        """Let the device decode, and take in what it wrote."""
        assert self.slots is not None
        longest = max(len(row.tokens) for row in self.rows if row)
        # No row outgrows the ring during the visit, nor does any need more than `max_tokens`.
        if min(longest + _STEPS, self.max_tokens) > self.ring:
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
        self.slots, emitted, steps = device.run(
            self.params,
            self.slots,
            np.int32(self.max_tokens),
            np.int32(floor),
            config=self.config,
            mesh=self.mesh,
            sampling=self.sampling,
            max_steps=_STEPS,
        )
        self.collect(np.asarray(emitted)[:, : int(steps)])

    def collect(self, emitted: np.ndarray) -> None:
        """Append the new tokens `[slots, steps]`, and free the slots of finished rows."""
        for i, row in enumerate(self.rows):
            if row is None:
                continue
            for token in emitted[i].tolist():
                finished = token == device.EOS
                if not finished:
                    row.tokens.append(token)
                if finished or len(row.tokens) == self.max_tokens:
                    self.rows[i] = None
                    self.store(row, finished)
                    break

    def store(self, row: _Row, finished: bool) -> None:
        """Keep a finished row; report its example when all samples are there."""
        found = self.done.setdefault(row.example, {})
        found[row.sample] = Output(tokens=row.tokens, finished=finished)
        if len(found) == self.samples:
            del self.done[row.example]
            self.finish(row.example, [found[s] for s in range(self.samples)])


def _decode_beams(
    *,
    params: Any,
    config: T5Config,
    inputs: Sequence[Sequence[int]],
    queue: collections.deque[int],
    samples: int,
    max_tokens: int,
    shards: int,
    mesh: Mesh | None,
    finish: Callable[[int, list[Output]], None],
    beam_size: int,
    slots: int,
) -> None:
    """Run beam search over fixed batches of `slots // beam_size` examples."""
    batch = _round_up(max(1, min(slots // beam_size, len(queue))), shards)
    while queue:
        examples = [queue.popleft() for _ in range(min(batch, len(queue)))]
        rows = [inputs[i] for i in examples]
        tokens = padded(rows, batch, width_bucket(max(len(row) for row in rows)))
        sequences, _, ended = beam_search(
            params, tokens, config=config, mesh=mesh, beam_size=beam_size, max_tokens=max_tokens
        )
        sequences, ended = np.asarray(sequences), np.asarray(ended)
        for place, example in enumerate(examples):
            found = [
                Output(
                    tokens=sequence[: sequence.index(device.EOS)] if finished else sequence,
                    finished=finished,
                )
                for sequence, finished in zip(
                    sequences[place].tolist(), ended[place].tolist(), strict=True
                )
            ]
            finish(example, found[:samples])
