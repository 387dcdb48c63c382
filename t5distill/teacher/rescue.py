"""Room set aside for replies that arrive when the disk is full.

The file is written in full at the start, so that writing into it later needs no new block and
passes no limit on file sizes. A saved reply is one frame: a header with its length and checksum,
then its bytes; a frame that was cut off by a crash fails its checksum and is left out.
"""

from __future__ import annotations

import os
import pathlib
import struct
import zlib
from collections.abc import Iterator

from t5distill.errors import UserError

# magic, attempt, status, length of the bytes, CRC-32 of them
_HEADER = struct.Struct(">4sQIII")
_MAGIC = b"t5dR"
_CHUNK = 2**20


class Rescue:
    """A file of fixed size that takes replies until it is full."""

    def __init__(self, path: pathlib.Path, size: int):
        """Open the file, made of zeros where there is none.

        Raises:
          UserError: there is no room for it.
        """
        self.path = path
        self._size = size
        try:
            self._handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            self._fill(os.fstat(self._handle).st_size)
        except OSError as e:
            raise UserError(
                f"{path}: no room for {size / 2**20:.0f} MB, which are set aside so that no paid "
                f"reply is lost when the disk is full ({e.strerror})"
            ) from e
        self._end = sum(_HEADER.size + len(raw) for _, _, raw in self.saved())

    def _fill(self, begin: int) -> None:
        # Zeros, not a hole: only blocks that are there already can be written on a full disk.
        for position in range(begin, self._size, _CHUNK):
            os.pwrite(self._handle, bytes(min(_CHUNK, self._size - position)), position)
        os.fsync(self._handle)

    def save(self, attempt: int, status: int, raw: bytes) -> bool:
        """Write one reply to the disk; False where there is no room left."""
        frame = _HEADER.pack(_MAGIC, attempt, status, len(raw), zlib.crc32(raw)) + raw
        if self._end + len(frame) > self._size:
            return False
        try:
            os.pwrite(self._handle, frame, self._end)
            os.fsync(self._handle)
        except OSError:
            return False
        self._end += len(frame)
        return True

    def saved(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield the saved replies: attempt, status, raw bytes."""
        position = 0
        while position + _HEADER.size <= self._size:
            header = os.pread(self._handle, _HEADER.size, position)
            if len(header) < _HEADER.size:
                return
            magic, attempt, status, length, checksum = _HEADER.unpack(header)
            if magic != _MAGIC:
                return
            position += _HEADER.size
            raw = os.pread(self._handle, length, position)
            if zlib.crc32(raw) != checksum:
                return
            position += length
            yield attempt, status, raw

    def clear(self) -> None:
        """Forget what was saved; the room stays."""
        if self._end:
            os.pwrite(self._handle, bytes(self._end), 0)
            os.fsync(self._handle)
            self._end = 0

    def close(self) -> None:
        """Close the file; it is left in place for the next run."""
        os.close(self._handle)
