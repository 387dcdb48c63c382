"""The script of the supervisor process: started by exec, reads its settings from its first pipe."""

import json
import os
import struct
import sys
import traceback
import types


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


def hollow_packages(root: str, module: str) -> None:
    """Make the packages above a module importable without running their `__init__`.

    `t5distill.verify` imports the judge and more, which have no business here and would make
    every fork slower.
    """
    parts = module.split(".")[:-1]
    for i in range(1, len(parts) + 1):
        name = ".".join(parts[:i])
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [os.path.join(root, *parts[:i])]
            sys.modules[name] = package


def main() -> None:
    """Move the pipes out of the way of a program's own descriptors, then become the supervisor."""
    settings = read_message(0)
    if settings is None:
        return
    commands, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.close(null)
    try:
        hollow_packages(settings["root"], "t5distill.verify.programs.inside.boot")
        hollow_packages(settings["root"], "t5distill.formats.wrapping")
        sys.modules["t5distill.verify.programs.inside.boot"] = sys.modules[__name__]
        from t5distill.verify.programs.inside import supervising

        supervising.supervise(settings, commands, replies)
    except BaseException:
        write_message(replies, {"failed": traceback.format_exc()[-2000:]})


if __name__ == "__main__":
    main()
