"""What a ledger says: what is answered, what was spent, and the chains in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from t5distill.records import Chain
from t5distill.teacher.ledger import Answer, Cost
from t5distill.teacher.schema import has_batches, reading

Path = str | os.PathLike[str]

# Keys that are looked up in one statement; SQLite allows 32,766 variables.
_BATCH = 5000


def answered(path: Path, keys: Iterable[str]) -> set[str]:
    """Return those of `keys` that have an answer."""
    return {key for (key,) in _of_keys(path, "key", keys)}


def answers(path: Path, keys: Iterable[str]) -> dict[str, Answer]:
    """Return the answers to those of `keys` that have one."""
    rows = _of_keys(path, "key, text, finish_reason, tokens", keys)
    return {
        key: Answer(key, text, reason, json.loads(tokens) if tokens else None)
        for key, text, reason, tokens in rows
    }


def _of_keys(path: Path, columns: str, keys: Iterable[str]) -> list[tuple[Any, ...]]:
    """Return columns of the answers to `keys`."""
    keys, found = list(keys), []
    with reading(path) as database:
        for i in range(0, len(keys), _BATCH):
            some = keys[i : i + _BATCH]
            marks = ",".join("?" * len(some))
            query = f"SELECT {columns} FROM answers WHERE key IN ({marks})"
            found += database.execute(query, some).fetchall()
    return found


def under_way(path: Path) -> set[str]:
    """Return the keys that batches ask for which are still open at a provider."""
    query = "SELECT keys FROM attempts JOIN batches ON batch = token WHERE batches.ended IS NULL"
    with reading(path) as database:
        rows = database.execute(query).fetchall() if has_batches(database) else []
    return {key for (keys,) in rows for key in json.loads(keys)}


def failed(path: Path) -> set[str]:
    """Return the keys that were asked for and have no answer."""
    query = "SELECT keys FROM attempts WHERE outcome IS NOT NULL AND outcome != 'answered'"
    with reading(path) as database:
        asked = {key for (keys,) in database.execute(query) for key in json.loads(keys)}
    return asked - answered(path, asked)


def spent(path: Path) -> Cost:
    """Return what all attempts may have cost, those without an end at their reserve."""
    query = (
        "SELECT coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), "
        "coalesce(sum(cost), 0.0) FROM attempts"
    )
    with reading(path) as database:
        return Cost(*database.execute(query).fetchone())


def chains(
    path: Path,
    *,
    benchmarks: Iterable[str] = (),
    style: str | None = None,
    teacher: str | None = None,
) -> Iterator[Chain]:
    """Yield the answers as chains, by problem and sample.

    Args:
      path: of the ledger.
      benchmarks: only these; all without any.
      style: only this one.
      teacher: only this one.
    """
    where, values = _only(benchmarks, style, teacher)
    query = (
        "SELECT problem_id, style, text, teacher, sample, prompt_sha, finish_reason, tokens "
        "FROM items JOIN answers USING (key) "
        f"WHERE {where} ORDER BY benchmark, problem_id, teacher, style, sample, text"
    )
    with reading(path) as database:
        for problem_id, of_style, text, of_teacher, sample, sha, reason, tokens in database.execute(
            query, values
        ):
            meta: dict[str, Any] = {"finish_reason": reason} if reason else {}
            if tokens:
                meta["tokens"] = json.loads(tokens)
            yield Chain(
                problem_id=problem_id,
                style=of_style,
                text=text,
                teacher=of_teacher,
                sample=sample,
                prompt_sha=sha,
                meta=meta,
            )


def count(
    path: Path,
    *,
    benchmarks: Iterable[str] = (),
    style: str | None = None,
    teacher: str | None = None,
) -> int:
    """Return how many answers `chains` would yield."""
    where, values = _only(benchmarks, style, teacher)
    query = f"SELECT count(*) FROM items JOIN answers USING (key) WHERE {where}"
    with reading(path) as database:
        return database.execute(query, values).fetchone()[0]


def _only(
    benchmarks: Iterable[str], style: str | None, teacher: str | None
) -> tuple[str, list[str]]:
    """Return a condition on items, and the values of its question marks."""
    benchmarks = list(benchmarks)
    conditions, values = ["1"], []
    if benchmarks:
        conditions.append(f"benchmark IN ({','.join('?' * len(benchmarks))})")
        values += benchmarks
    for column, value in (("style", style), ("teacher", teacher)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    return " AND ".join(conditions), values


def overview(path: Path) -> dict[str, Any]:
    """Return what `t5distill ledger show` prints.

    Returns:
      `sets`: rows of benchmark, style, teacher, items, answers; `attempts`: counts by outcome;
      `errors`: the most frequent reasons with their counts; `cost`: a Cost; `batches`: rows of
      the open ones: id (None before it is known), server, status, total, completed and failed
      lines, and the second since the epoch at which it began.
    """
    sets = (
        "SELECT benchmark, style, teacher, count(*), count(answers.key) FROM items "
        "LEFT JOIN answers USING (key) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    outcomes = (
        "SELECT coalesce(outcome, 'in flight'), count(*) FROM attempts GROUP BY 1 ORDER BY 2 DESC"
    )
    errors = (
        "SELECT error, count(*) FROM attempts WHERE error IS NOT NULL "
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10"
    )
    batches = (
        "SELECT batch_id, server, status, total, completed, failed, started FROM batches "
        "WHERE ended IS NULL ORDER BY started"
    )
    with reading(path) as database:
        return {
            "sets": database.execute(sets).fetchall(),
            "attempts": dict(database.execute(outcomes).fetchall()),
            "errors": database.execute(errors).fetchall(),
            "cost": spent(path),
            "batches": database.execute(batches).fetchall() if has_batches(database) else [],
        }
