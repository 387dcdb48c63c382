"""Lines that are kept while a run goes on, so that a kill loses none, or little.

On this machine they are appended to one file. A bucket's files cannot be appended to: there they
are parts, NAME-00000, NAME-00001, ..., and what came since the last part is lost with the process.
"""

from __future__ import annotations

import os
import pathlib
import time
from typing import BinaryIO

from t5distill import places

SECONDS = 20.0  # between parts
BYTES = 4 << 20


def journal(path: pathlib.Path) -> Journal:
    """Return the journal of that name, which need not exist."""
    return _Parts(path) if places.is_remote(path) else Journal(path)


class Journal:
    """One file of lines: read first, then open for more between `begin` and `close`."""

    def __init__(self, path: pathlib.Path):
        """Look at nothing yet."""
        self.path = path
        self._file: BinaryIO | None = None

    def read(self) -> bytes:
        """Return all that is there; nothing where there is no journal."""
        return self.path.read_bytes() if self.path.exists() else b""

    def begin(self, kept: int) -> None:
        """Open it behind so many bytes; what follows them is dropped."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab")  # noqa: SIM115
        self._file.truncate(kept)

    def add(self, line: bytes) -> None:
        """Keep a line."""
        assert self._file is not None
        self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        """Keep what there is."""
        if self._file is not None:
            self._file.close()

    def put_aside(self, path: pathlib.Path) -> bool:
        """Give it another name; say whether there was one."""
        if not self.path.exists():
            return False
        self.path.replace(path)
        return True

    def remove(self) -> None:
        """Delete it."""
        os.unlink(self.path)


class _Parts(Journal):
    """The same in a bucket."""

    def __init__(self, path: pathlib.Path):
        super().__init__(path)
        self._waiting: list[bytes] = []
        self._content = b""
        self._next = 0
        self._written = 0.0

    def _parts(self) -> list[pathlib.Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}-*"))

    def read(self) -> bytes:
        self._content = b"".join(part.read_bytes() for part in self._parts())
        return self._content

    def begin(self, kept: int) -> None:
        parts, content = self._parts(), self._content
        self._next = int(parts[-1].name.rpartition("-")[2]) + 1 if parts else 0
        self._written = time.monotonic()
        if kept < len(content):
            # Lines that stand twice for a moment are no loss: a reader stops before the second.
            self._next = 0
            self._waiting = [content[:kept]]
            self._write()
            for part in parts[1:]:
                part.unlink()

    def add(self, line: bytes) -> None:
        self._waiting.append(line)
        late = time.monotonic() - self._written > SECONDS
        if late or sum(map(len, self._waiting)) > BYTES:
            self._write()

    def _write(self) -> None:
        with self.path.with_name(f"{self.path.name}-{self._next:05d}").open("wb") as f:
            f.write(b"".join(self._waiting))
        self._waiting = []
        self._next += 1
        self._written = time.monotonic()

    def close(self) -> None:
        if self._waiting:
            self._write()

    def put_aside(self, path: pathlib.Path) -> bool:
        content, self._content = self._content, b""
        if content:
            path.write_bytes(content)
            self.remove()
        return bool(content)

    def remove(self) -> None:
        for part in self._parts():
            part.unlink()
