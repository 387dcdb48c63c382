"""`t5distill generate` beside bare HTTP loops, against a teacher that answers at once.

    python -m benchmarks.teacher --out teacher.json

The loopback teacher runs in a process of its own, without latency, so that what counts is what a
request costs on the asking side. `generate` writes an intent, the reply and the answer to its
ledger; a bare loop sends the same bodies with the same number under way, reads the JSON and keeps
nothing. `client` is the connection that generate uses, without ledger and throttle. All take turns,
A B C A B C ..., so that whatever else the machine does meets all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from benchmarks import reporting
from t5distill.errors import UserError
from t5distill.problems import embedded
from t5distill.records import write_jsonl
from t5distill.teacher import command, plan, session
from t5distill.teacher.client import Client, Server
from t5distill.teacher.loopback import LoopbackProcess

OURS = "generate"
# Of one interface; openai's SDK stands on the one or the other, by its version.
LIBRARIES = ("httpx", "httpx2")
WANTED = 0.8
MODEL = "loopback"

Body = dict[str, Any]
Send = Callable[[Body], Awaitable[None]]
Connect = Callable[[], contextlib.AbstractAsyncContextManager[Send]]


class Turn(NamedTuple):
    """How many replies came, in how many seconds."""

    replies: int
    seconds: float


Contender = Callable[[], Turn]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teacher", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--requests", type=int, default=3000, metavar="N", help="of one turn (default: 3000)")
    add("--turns", type=int, default=5, help="of each contender (default: 5)")
    add(
        "--concurrency",
        type=int,
        nargs="+",
        default=[8, 32],
        metavar="N",
        help="requests under way (default: 8, as the quickstart, and 32, as generate)",
    )
    add("--out", metavar="FILE", help="write the results as JSON too")
    args = parser.parse_args(arguments)
    if min(args.requests, args.turns, *args.concurrency) < 1:
        parser.error("--requests, --turns and --concurrency are at least 1")
    return args


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return an exit code."""
    return 2 if reporting.measured(run, parse(arguments)) is None else 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Let all take turns at each concurrency; print and return what was measured."""
    report: dict[str, Any] = {
        "requests": args.requests,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
        "versions": _versions(),
        "concurrency": {},
    }
    with tempfile.TemporaryDirectory(prefix="t5distill-bench-") as name:
        folder = pathlib.Path(name)
        problems = folder / "problems.jsonl"
        write_jsonl(problems, embedded.generate(count=args.requests, seed=1, split="train"))
        for concurrency in args.concurrency:
            with LoopbackProcess(problems, model=MODEL) as server:
                contenders = _contenders(problems, server.url, folder, concurrency)
                speeds = _rounds(contenders, args)
            result = _summary(speeds)
            report["concurrency"][str(concurrency)] = result
            print(_table(result, concurrency, args), flush=True)
    report["load_after"] = os.getloadavg()
    print(
        f"\nload of the machine {report['load_before'][0]:.1f} before, "
        f"{report['load_after'][0]:.1f} after, {report['cores']} cores"
    )
    return report


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("openai", *LIBRARIES):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _contenders(
    problems: pathlib.Path, url: str, folder: pathlib.Path, concurrency: int
) -> dict[str, Contender]:
    """Return by name what makes one turn."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["--problems", str(problems), "--teacher", f"{MODEL}@{url}"]
    words += ["--concurrency", str(concurrency), "--ledger"]

    def generate() -> Turn:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            planned = plan.make(parser.parse_args([*words, f"{name}/ledger.db"]))
            begin = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                session.generate(planned)
            seconds = time.perf_counter() - begin
            return Turn(len(planned.keys - planned.missing()), seconds)

    planned = plan.make(parser.parse_args([*words, str(folder / "none.db")]))
    bodies = [request.body for request in planned.requests(planned.keys)]

    def loop(connect: Connect) -> Contender:
        return lambda: _turn(connect, bodies, concurrency)

    contenders = {OURS: generate, "client": loop(lambda: _client(url))}
    for name in LIBRARIES:
        if importlib.util.find_spec(name):
            contenders[name] = loop(lambda name=name: _bare(name, url, concurrency))
    return contenders


@contextlib.asynccontextmanager
async def _client(url: str) -> AsyncIterator[Send]:
    """Give what sends a body over the connection that generate uses."""
    async with Client(Server(MODEL, url), endpoint="chat", timeout_s=300.0) as client:

        async def send(body: Body) -> None:
            received = await client.send(body)
            assert received.status == 200, received
            json.loads(received.raw)

        yield send


@contextlib.asynccontextmanager
async def _bare(name: str, url: str, concurrency: int) -> AsyncIterator[Send]:
    """Give what posts a body with an HTTP library alone."""
    library = importlib.import_module(name)
    limits = library.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with library.AsyncClient(limits=limits, timeout=300.0) as client:

        async def send(body: Body) -> None:
            response = await client.post(f"{url}/chat/completions", json=body)
            response.raise_for_status()
            response.json()

        yield send


def _turn(connect: Connect, bodies: list[Body], concurrency: int) -> Turn:
    """Send all bodies, so many at a time."""
    replies = 0

    async def work() -> None:
        async with connect() as send:
            waiting = iter(bodies)

            async def one_after_the_other() -> None:
                nonlocal replies
                for body in waiting:
                    await send(body)
                    replies += 1

            await asyncio.gather(*(one_after_the_other() for _ in range(concurrency)))

    begin = time.perf_counter()
    asyncio.run(work())
    return Turn(replies, time.perf_counter() - begin)


def _rounds(contenders: dict[str, Contender], args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the requests per second of each turn; the round before the first is not counted."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(args.turns + 1):
        for name, contender in contenders.items():
            turn = contender()
            if turn.replies != args.requests:
                raise UserError(f"{name}: {turn.replies} replies to {args.requests} requests")
            if number:
                speeds[name].append(turn.replies / turn.seconds)
    return speeds


def _summary(speeds: dict[str, list[float]]) -> dict[str, Any]:
    """Return speeds and, round by round, the ratio of generate to each."""
    return {
        name: {
            "requests_per_second": theirs,
            "ratios": [a / b for a, b in zip(speeds[OURS], theirs, strict=True)],
        }
        for name, theirs in speeds.items()
    }


def _table(result: dict[str, Any], concurrency: int, args: argparse.Namespace) -> str:
    """Return the results at one concurrency: median (min to max)."""
    lines = [
        f"\n{concurrency} requests under way, {args.requests} in a turn, {args.turns} turns; "
        "median (min to max)",
        f"{'':10}{'requests/s':>22}{f'generate / it, wanted {WANTED}':>32}",
    ]
    for name, row in result.items():
        speed, ratio = _spread(row["requests_per_second"], ".0f"), _spread(row["ratios"], ".2f")
        lines.append(f"{name:10}{speed:>22}{'' if name == OURS else ratio:>32}")
    return "\n".join(lines)


def _spread(values: list[float], form: str) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


if __name__ == "__main__":
    sys.exit(main())
