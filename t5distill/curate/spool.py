"""Rows put aside on disk and read back in order, in memory that does not grow with them."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator

from t5distill.errors import UserError
from t5distill.records import Chain, from_object, to_json

_BATCH = 1000


class Spool:
    """A temporary table of SQLite, which sorts outside of memory. Use as a context manager."""

    def __init__(self, path: str | os.PathLike[str], schema: str):
        """Create the file; it belongs to nobody else and may be lost.

        Args:
          path: of the new file.
          schema: statements that create its tables.
        """
        with _told_of_full_disks():
            self._database = sqlite3.connect(path)
            self._database.executescript(
                f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN; {schema}"
            )

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, statement: str, rows: Iterable[tuple]) -> None:
        """Insert rows.

        Raises:
          UserError: the disk is full.
        """
        with _told_of_full_disks():
            self._database.executemany(statement, rows)

    def rows(self, query: str) -> Iterator[tuple]:
        """Yield the rows of a query."""
        with _told_of_full_disks():
            cursor = self._database.execute(query)
            some = cursor.fetchmany(_BATCH)
        while some:
            yield from some
            with _told_of_full_disks():
                some = cursor.fetchmany(_BATCH)


@contextlib.contextmanager
def _told_of_full_disks() -> Iterator[None]:
    """Turn what SQLite says of a full disk, or of a number it cannot hold, into a message."""
    try:
        yield
    except sqlite3.OperationalError as e:
        raise UserError(f"{e}, while chains were put in order: is the disk full?") from e
    except OverflowError as e:
        raise UserError(f"a chain's sample is no number of this world: {e}") from e


def in_order(chains: Iterable[Chain], path: str | os.PathLike[str]) -> tuple[int, Iterator[Chain]]:
    """Return how many chains there are, and give them by problem and sample.

    Args:
      chains: any number of them, in any order.
      path: of a file to make, which the caller removes.
    """
    schema = "CREATE TABLE chains (problem_id TEXT, sample INTEGER, text TEXT, json TEXT)"
    spool = Spool(path, schema)
    rows = ((c.problem_id, c.sample, c.text, to_json(c)) for c in chains)
    spool.add("INSERT INTO chains VALUES (?, ?, ?, ?)", rows)
    [(count,)] = spool.rows("SELECT count(*) FROM chains")
    return count, _read(spool)


def _read(spool: Spool) -> Iterator[Chain]:
    with spool:
        for (line,) in spool.rows(
            "SELECT json FROM chains ORDER BY problem_id, sample, text, json"
        ):
            yield from_object(Chain, json.loads(line))
