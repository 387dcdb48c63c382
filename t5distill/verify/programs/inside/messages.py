"""Messages through pipes between whoever asks for verdicts and the supervisor."""

import os

# Beside `outcomes.STATUSES`: nothing is known against what the job says of itself; an error of one
# that perhaps only needs modules that are not here.
SAID, ELSEWHERE = "said", "elsewhere"


def read_message(fd: int) -> bytes | None:
    """Return the next message of a pipe, behind four bytes of its length; None at the end."""
    head = _exactly(fd, 4)
    return head and _exactly(fd, int.from_bytes(head, "big"))


def write_message(fd: int, message: bytes) -> None:
    """Write a message to a pipe."""
    rest = len(message).to_bytes(4, "big") + message
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
