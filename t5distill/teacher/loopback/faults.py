"""Faults that the loopback teacher injects: what providers and networks do on bad days."""

from __future__ import annotations

import dataclasses
import random

from t5distill.errors import UserError, suggest

NAMES = (
    "too_many_requests",
    "server_error",
    "reset",
    "hang",
    "truncated",
    "bad_utf8",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faults:
    """The share of requests that meets each fault; every attempt draws anew.

    Requests for models meet none. Those to the files and batches do, and a line of a batch fails
    with the rate of `server_error`.

    Attributes:
      too_many_requests: 429, half of them with a Retry-After header.
      server_error: 500, 502 (an HTML body, as gateways send) or 503.
      reset: the connection is reset, half the time before the reply, else in its middle.
      hang: no reply at all until the client gives up.
      truncated: the JSON is cut, half the time with a Content-Length that fits the cut body, else
        with the whole one's and an early end.
      bad_utf8: bytes that are not UTF-8 inside the text.
      retry_after_s: seconds in the Retry-After header.
    """

    too_many_requests: float = 0.0
    server_error: float = 0.0
    reset: float = 0.0
    hang: float = 0.0
    truncated: float = 0.0
    bad_utf8: float = 0.0
    retry_after_s: float = 1.0

    def __post_init__(self):
        rates = {name: getattr(self, name) for name in NAMES}
        for name, rate in rates.items():
            if not 0.0 <= rate <= 1.0:
                raise UserError(f"fault {name} has rate {rate}, wanted a share in [0, 1]")
        if sum(rates.values()) > 1.0 + 1e-9:
            raise UserError(f"the fault rates sum to {sum(rates.values()):g}, wanted 1 at most")

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read `name=rate,name=rate`.

        Raises:
          UserError: a name is unknown, or a rate is no number or no share.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        given: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            name, _, rate = (x.strip() for x in part.partition("="))
            if name not in known:
                raise UserError(f"fault {name!r} is unknown; {suggest(name, known)}")
            try:
                given[name] = float(rate)
            except ValueError as e:
                raise UserError(f"fault {name} has rate {rate!r}, wanted a number") from e
        return cls(**given)

    def draw(self, rng: random.Random) -> str | None:
        """Return the fault that an attempt meets, or None."""
        u = rng.random()
        for name in NAMES:
            u -= getattr(self, name)
            if u < 0.0:
                return name
        return None


def cut(body: bytes, rng: random.Random) -> bytes:
    """Return the beginning of a body; that of a JSON object is never itself valid JSON."""
    return body[: rng.randint(1, max(1, len(body) - 1))]


def with_bad_bytes(body: bytes) -> bytes:
    """Return a JSON body with bytes that no UTF-8 holds in a text, or else in its first name.

    A generated text is preferred: a client that replaces the bytes takes it for sound.
    """
    for key in (b'"content":"', b'"text":"', b'"'):
        head, found, tail = body.partition(key)
        if found:
            return head + found + b"\xff\xfe\x80" + tail
    return b"\xff\xfe\x80" + body
