"""Messages through pipes between whoever asks for verdicts and the supervisor."""

import json
import os
import struct


def read_message(fd: int) -> dict | None:
    """Return the next message of a pipe: four bytes of length, then JSON; None at its end."""
    head = _exactly(fd, 4)
    body = head and _exactly(fd, struct.unpack(">I", head)[0])
    return json.loads(body) if body else None


def write_message(fd: int, message: dict) -> None:
    """Write a message to a pipe."""
    body = json.dumps(message).encode()
    rest = struct.pack(">I", len(body)) + body
    while rest:
        rest = rest[os.write(fd, rest) :]


def _exactly(fd: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = os.read(fd, size - len(data))
        if not part:
            return None
        data += part
    return data
