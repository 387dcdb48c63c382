"""The file that `t5distill capture` writes, which loses no work to a kill.

OUT           the chains, written once all are there
OUT.partial   while running: what they depend on, then one chain a line (in a bucket parts of it)
OUT.lock      held by the one process that writes
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from t5distill import places
from t5distill.errors import UserError
from t5distill.evaluate.journal import journal
from t5distill.records import Chain, from_object, read_jsonl, to_json, write_jsonl


class Captures:
    """What has been captured so far."""

    def __init__(self, out: pathlib.Path, about: dict[str, Any], *, count: int):
        """Name the file, what its chains depend on, and how many there will be."""
        self.out, self.about, self.count = out, about, count
        self._partial = journal(out.with_name(f"{out.name}.partial"))

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Give how many chains are there; after the block, if all are, they take their place.

        Raises:
          UserError: the file is something else, or another process is writing it.
        """
        with self._alone():
            if self._is_complete():
                yield self.count
                return
            kept, done = self._read()
            self._partial.begin(kept)
            try:
                if not kept:
                    self._partial.add(f"{json.dumps(self.about)}\n".encode())
                yield done
            finally:
                self._partial.close()
            lines = self._partial.read().splitlines()[1:]
            write_jsonl(self.out, (from_object(Chain, json.loads(line)) for line in lines))
            self._partial.remove()

    def add(self, chain: Chain) -> None:
        """Keep a chain, with what it depends on."""
        chain.meta["captured"] = self.about
        self._partial.add(f"{to_json(chain)}\n".encode())

    def _is_complete(self) -> bool:
        """Say whether the file is there, of the same chains and the same teacher."""
        if not self.out.exists():
            return False
        try:
            found = [chain.meta.get("captured") for chain in read_jsonl(Chain, self.out)]
        except UserError:
            found = []
        if found != [self.about] * self.count:
            raise UserError(
                f"{self.out}: there already, and not what this command would write; give another "
                "--out"
            )
        return True

    def _read(self) -> tuple[int, int]:
        """Return the bytes and the chains of an earlier run that was cut off."""
        # What follows the last newline is the line that was being written.
        whole = [line for line in self._partial.read().splitlines(True) if line.endswith(b"\n")]
        if not whole:
            return 0, 0
        try:
            same = json.loads(whole[0]) == self.about and len(whole) - 1 <= self.count
        except ValueError:
            same = False
        if not same:
            raise UserError(
                f"{self._partial.path}: begun with other chains or problems, another teacher, "
                "--name, --top or --vocab; give another --out, or delete it"
            )
        return sum(map(len, whole)), len(whole) - 1

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock; on a bucket there is none."""
        if places.is_remote(self.out):
            yield
            return
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserError(f"{self.out}: cannot be written here: {e.strerror}") from e
        handle = places.only_writer(self.out, "another process is writing it")
        try:
            yield
        finally:
            os.close(handle)
