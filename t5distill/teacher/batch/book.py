"""What the ledger knows of batches.

A row of a batch and the intents of all its lines are on the disk before its file leaves. From then
on the lines are charged at their reserve until the batch has ended and each has its own end, or
the batch as a whole has one. Every step is one transaction, so a process may die at any of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any, NamedTuple

from t5distill.errors import UserError
from t5distill.teacher.asking import Prices, Request
from t5distill.teacher.ledger import Cost, Ledger
from t5distill.teacher.schema import has_batches, reading


class Batch(NamedTuple):
    """An open batch.

    Attributes:
      token: ours; it stands in the batch's metadata, so that a batch whose id was lost is found.
      server: the URL, without what might be secret in it.
      endpoint: the path that every line goes to.
      started: when it was written down, in seconds since the epoch.
      prices: of its tokens.
      file_id: of the uploaded lines, or None before that is known.
      creations: how many requests to create it may have left.
      batch_id: the provider's, or None before it is known.
    """

    token: str
    server: str
    endpoint: str
    started: float
    prices: Prices
    file_id: str | None = None
    creations: int = 0
    batch_id: str | None = None


class Line(NamedTuple):
    """One request of a batch, as the ledger has it.

    Attributes:
      keys: of the items that it asks for.
      reserve: the most that it can cost.
      outcome: None while it is open.
    """

    keys: list[str]
    reserve: Cost
    outcome: str | None


def address(url: str) -> str:
    """Return a server's URL as it may stand in a file: without user, password and query."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


async def begin(ledger: Ledger, batch: Batch, requests: Sequence[Request]) -> list[int]:
    """Write down a batch and the intents of its lines; return the lines' numbers."""

    def work(database: Any) -> list[int]:
        reserves = zip(*(r.reserve for r in requests), strict=True)
        database.execute(
            "INSERT INTO batches (token, server, endpoint, started, total, prompt_tokens, "
            "completion_tokens, cost, price_prompt, price_completion) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *batch[:4],
                len(requests),
                *map(sum, reserves),
                batch.prices.prompt,
                batch.prices.completion,
            ),
        )
        add = (
            "INSERT INTO attempts "
            "(keys, started, prompt_tokens, completion_tokens, cost, batch) VALUES (?,?,?,?,?,?)"
        )
        return [
            database.execute(
                add, (json.dumps(r.keys), batch.started, *r.reserve, batch.token)
            ).lastrowid
            for r in requests
        ]

    return await _written(ledger, work)


async def uploaded(ledger: Ledger, token: str, file_id: str) -> None:
    """Write down where the lines are."""
    await _execute(ledger, "UPDATE batches SET file_id = ? WHERE token = ?", file_id, token)


async def creating(ledger: Ledger, token: str) -> None:
    """Write down that a request to create the batch is about to leave."""
    query = "UPDATE batches SET creations = creations + 1 WHERE token = ?"
    await _execute(ledger, query, token)


async def created(ledger: Ledger, token: str, batch_id: str) -> None:
    """Write down the provider's id."""
    await _execute(ledger, "UPDATE batches SET batch_id = ? WHERE token = ?", batch_id, token)


async def seen(ledger: Ledger, token: str, status: str, completed: int, failed: int) -> None:
    """Write down the state of a batch."""
    query = "UPDATE batches SET status = ?, completed = ?, failed = ? WHERE token = ?"
    await _execute(ledger, query, status, completed, failed, token)


async def end(
    ledger: Ledger,
    token: str,
    *,
    outcome: str,
    error: str,
    charged: bool,
    twins: Sequence[str] = (),
) -> None:
    """Close a batch, and give the lines that have no end yet this one.

    Args:
      ledger: open for writing.
      token: of the batch.
      outcome: of those lines.
      error: one line for a person.
      charged: whether they keep their reserve as cost; else they cost nothing.
      twins: ids of batches that were created from the same file by mistake: each is charged in
        full.
    """
    await _written(ledger, lambda database: _end(database, token, outcome, error, charged, twins))


def _end(
    database: Any, token: str, outcome: str, error: str, charged: bool, twins: Sequence[str]
) -> int:
    """Execute the statements of `end`; return how many lines had no end."""
    lines = database.execute(
        "SELECT keys FROM attempts WHERE batch = ? ORDER BY id", (token,)
    ).fetchall()
    now = time.time()
    asked = json.dumps([key for (keys,) in lines for key in json.loads(keys)])
    for twin in twins:
        database.execute(
            "INSERT INTO attempts "
            "(keys, started, ended, outcome, error, prompt_tokens, completion_tokens, cost) "
            "SELECT ?, ?, ?, 'unknown', ?, prompt_tokens, completion_tokens, cost "
            "FROM batches WHERE token = ?",
            (asked, now, now, f"{twin}: the same batch, created twice", token),
        )
    cost = "" if charged else ", prompt_tokens = 0, completion_tokens = 0, cost = 0"
    left = database.execute(
        f"UPDATE attempts SET outcome = ?, ended = ?, error = ? {cost} "
        "WHERE batch = ? AND outcome IS NULL",
        (outcome, now, error[:500], token),
    ).rowcount
    database.execute("UPDATE batches SET ended = ? WHERE token = ?", (now, token))
    return left


def open_batches(path: str | os.PathLike[str]) -> list[Batch]:
    """Return the batches without an end, the oldest first."""
    query = (
        "SELECT token, server, endpoint, started, price_prompt, price_completion, file_id, "
        "creations, batch_id FROM batches WHERE ended IS NULL ORDER BY started"
    )
    with reading(path) as database:
        rows = database.execute(query).fetchall() if has_batches(database) else []
    return [
        Batch(token, server, endpoint, started, Prices(prompt, completion), file_id, n, batch_id)
        for token, server, endpoint, started, prompt, completion, file_id, n, batch_id in rows
    ]


def lines(path: str | os.PathLike[str], token: str) -> dict[int, Line]:
    """Return the lines of a batch by their number; those with an end have a cost as reserve."""
    query = (
        "SELECT id, keys, outcome, prompt_tokens, completion_tokens, cost FROM attempts "
        "WHERE batch = ?"
    )
    with reading(path) as database:
        rows = database.execute(query, (token,)).fetchall()
    return {n: Line(json.loads(keys), Cost(*cost), outcome) for n, keys, outcome, *cost in rows}


def drop_unsent(ledger: Ledger, *, uploaded: bool) -> None:
    """Close batches of an earlier process that were never created: they cost nothing.

    Args:
      ledger: open for writing.
      uploaded: also those whose file is at the provider, from which a run of batches could go on.
    """
    for batch in open_batches(ledger.path):
        if batch.creations == 0 and (uploaded or batch.file_id is None):
            ledger.write(
                lambda d, t=batch.token: _end(d, t, "retry", "it was never created", False, ())
            ).result()


def abandon(path: str | os.PathLike[str], batch_id: str) -> int:
    """Give an open batch up: its lines stay charged and are asked for again.

    Args:
      path: of the ledger.
      batch_id: the provider's id or our token.

    Returns:
      How many lines were still open.

    Raises:
      UserError: there is no such open batch.
    """
    found = [b for b in open_batches(path) if batch_id in (b.batch_id, b.token)]
    if not found:
        known = ", ".join(b.batch_id or b.token for b in open_batches(path)) or "none"
        raise UserError(f"{path}: no open batch {batch_id}; open are: {known}")
    with Ledger(path) as ledger:
        error = f"{batch_id} was given up"
        work = [
            ledger.write(lambda d, t=b.token: _end(d, t, "unknown", error, True, ())) for b in found
        ]
        return sum(future.result() for future in work)


async def _written(ledger: Ledger, work: Any) -> Any:
    return await asyncio.wrap_future(ledger.write(work))


async def _execute(ledger: Ledger, query: str, *values: object) -> None:
    await _written(ledger, lambda database: database.execute(query, values).rowcount)
