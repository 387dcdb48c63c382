"""The tables of a ledger: made, brought up to date, opened for writing and for reading."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
from collections.abc import Iterator

from t5distill import places
from t5distill.errors import UserError

VERSION = 2

_TABLES = """
CREATE TABLE prompts (sha TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
  key TEXT PRIMARY KEY, problem_id TEXT NOT NULL, benchmark TEXT NOT NULL, style TEXT NOT NULL,
  teacher TEXT NOT NULL, sample INTEGER NOT NULL, prompt_sha TEXT
) WITHOUT ROWID;
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY, keys TEXT NOT NULL, started REAL NOT NULL, ended REAL,
  outcome TEXT, status INTEGER, raw BLOB, error TEXT,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL
);
CREATE TABLE answers (
  key TEXT PRIMARY KEY, attempt INTEGER, text TEXT NOT NULL, finish_reason TEXT, tokens TEXT
) WITHOUT ROWID;
CREATE INDEX unended ON attempts (id) WHERE outcome IS NULL OR outcome = 'received';
"""

# Version 2: attempts that are lines of a batch at the provider. A batch is open while it has no
# end; `creations` counts the requests to create it that may have left; the tokens and the cost are
# the reserve of all its lines; its prices are those of the command that sent it.
_BATCHES = """
CREATE TABLE batches (
  token TEXT PRIMARY KEY, server TEXT NOT NULL, endpoint TEXT NOT NULL,
  started REAL NOT NULL, ended REAL, file_id TEXT, creations INTEGER NOT NULL DEFAULT 0,
  batch_id TEXT, status TEXT, total INTEGER NOT NULL, completed INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL,
  price_prompt REAL NOT NULL, price_completion REAL NOT NULL
) WITHOUT ROWID;
ALTER TABLE attempts ADD COLUMN batch TEXT;
CREATE INDEX batched ON attempts (batch) WHERE batch IS NOT NULL;
"""


def local(path: places.Path) -> pathlib.Path:
    """Return the path of a ledger; raise UserError where that is in a bucket."""
    if places.is_remote(path):
        raise UserError(
            f"{path}: a ledger is a database on a local disk; name a file there, and copy it"
        )
    return pathlib.Path(path)


def connect(path: pathlib.Path) -> sqlite3.Connection:
    """Open the file for writing, its tables made and of this version; an older one is changed.

    Raises:
      UserError: it is no ledger, or one of a later version.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder; wanted a file for the ledger, e.g. {path}/chains.db")
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        version = _version(database)
        if version == 0 and not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            _change(database, _TABLES + _BATCHES)
        elif version == 1:
            _change(database, _BATCHES)
        elif version != VERSION:
            raise UserError(f"{path}: version {version}, wanted a ledger of version {VERSION}")
    except sqlite3.DatabaseError as e:
        database.close()
        raise UserError(f"{path}: not a ledger: {e}") from e
    except UserError:
        database.close()
        raise
    return database


def _version(database: sqlite3.Connection) -> int:
    return database.execute("PRAGMA user_version").fetchone()[0]


def _change(database: sqlite3.Connection, statements: str) -> None:
    """Execute statements and set the version, all or nothing."""
    database.executescript(f"BEGIN; {statements} PRAGMA user_version = {VERSION}; COMMIT;")


def has_batches(database: sqlite3.Connection) -> bool:
    """Whether a ledger that is open for reading is new enough to know of batches."""
    return _version(database) >= 2


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[sqlite3.Connection]:
    """Open a ledger for reading, beside whoever writes.

    Raises:
      UserError: there is none, or the file is something else.
    """
    if not local(path).is_file():
        raise UserError(f"{path}: no such ledger; wanted a file that `t5distill generate` made")
    # Not mode=ro: reading a WAL whose writer died needs its shared-memory file to be made.
    database = sqlite3.connect(path, timeout=60)
    try:
        database.execute("PRAGMA query_only = ON")
        yield database
    except sqlite3.DatabaseError as e:
        raise UserError(f"{path}: not a ledger: {e}") from e
    finally:
        database.close()
