"""The loopback teacher as a server: a thread with an event loop, and its connections."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from t5distill.errors import UserError
from t5distill.records import Path, Problem
from t5distill.teacher.loopback import batches, wire
from t5distill.teacher.loopback.answers import Writer
from t5distill.teacher.loopback.bill import Bill
from t5distill.teacher.loopback.desk import Desk
from t5distill.teacher.loopback.faults import Faults
from t5distill.teacher.loopback.questions import Questions
from t5distill.teacher.loopback.wire import h11

_HOST = "127.0.0.1"
# Clients that open hundreds of connections at once must not find the queue full.
_BACKLOG = 1024


class LoopbackTeacher:
    """A server of the embedded problems, in a thread of its own for the length of a `with` block.

    Attributes:
      port: the port it listens on, once it does.
      bill: what it received and answered.
    """

    def __init__(
        self,
        problems: Iterable[Problem],
        *,
        seed: int = 0,
        wrong_rate: float = 0.0,
        malformed_rate: float = 0.0,
        latency_s: float = 0.0,
        requests_per_minute: int | None = None,
        faults: Faults | None = None,
        api_key: str | None = None,
        model: str = "loopback",
        port: int = 0,
        bill_file: Path | None = None,
        bill_fsync: bool = False,
        batch_polls: int = 2,
        batch_outcomes: Sequence[str] = (),
        batch_latency_s: float = 0.0,
    ):
        """Index the problems; nothing listens before the `with` block.

        Args:
          problems: embedded problems with their programs.
          seed: of the answers and of the faults.
          wrong_rate: the expected share of answers with a wrong step carried forward.
          malformed_rate: the expected share of malformed answers.
          latency_s: seconds before a generated reply leaves.
          requests_per_minute: generation requests within any minute; beyond them 429.
          faults: what goes wrong, and how often.
          api_key: what a client must send as bearer token; None lets everybody in.
          model: the only model's name.
          port: 0 takes a free one.
          bill_file: see `Bill`.
          bill_fsync: see `Bill`.
          batch_polls: how often the state of a batch is asked for until it is completed.
          batch_outcomes: how the first batches end, see `batches.OUTCOMES`.
          batch_latency_s: seconds that the reply about a file or a batch takes once its work is
            done and on the bill.

        Raises:
          UserError: a problem has no program, or a rate is no share.
        """
        questions = Questions(problems)
        writer = Writer(seed=seed, wrong_rate=wrong_rate, malformed_rate=malformed_rate)
        self.bill = Bill(bill_file, fsync=bill_fsync)
        self._desk = Desk(
            questions,
            writer,
            faults=faults or Faults(),
            requests_per_minute=requests_per_minute,
            api_key=api_key,
            model=model,
            batch_polls=batch_polls,
            batch_outcomes=batch_outcomes,
            bill=self.bill,
        )
        self._latency_s, self._batch_latency_s = latency_s, batch_latency_s
        self._thread = threading.Thread(target=self._run, name="loopback-teacher", daemon=True)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._connections: set[asyncio.Task[Any]] = set()
        self.port = port

    @property
    def url(self) -> str:
        """What a client takes as base URL: `http://127.0.0.1:PORT/v1`."""
        return f"http://{_HOST}:{self.port}/v1"

    def __enter__(self) -> LoopbackTeacher:
        """Listen.

        Raises:
          UserError: the port is taken.
        """
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self.bill.close()
            raise UserError(f"cannot listen on port {self.port}: {self._failure}; take another one")
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection and wait for the thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self.bill.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as e:
            self._failure = e
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._connected, _HOST, self.port, backlog=_BACKLOG)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        # Python 3.11 fails on connections that it is accepting while the server closes, so these
        # are let in first.
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())
        await _a_few_turns()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await _a_few_turns()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "start_server runs this in a task"
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            # The client has gone, or the server stops: nobody waits for more.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        connection = h11.Connection(h11.SERVER)
        while True:
            try:
                call = await wire.receive(connection, reader, writer)
                if call is None:
                    return
                reply = self._desk.reply(call)
            except h11.RemoteProtocolError as e:
                reply = self._desk.no_http(e)
            if reply.entry.choices and self._latency_s > 0.0:
                await asyncio.sleep(self._latency_s)
            self.bill.append(dataclasses.replace(reply.entry, time=time.time()))
            if reply.entry.path.startswith((batches.FILES, batches.BATCHES)):
                await asyncio.sleep(self._batch_latency_s)
            if not await wire.send(connection, reader, writer, reply):
                return
            connection.start_next_cycle()


async def _a_few_turns() -> None:
    """Let the event loop do what is due: connections are accepted, and closed, in a few turns."""
    for _ in range(5):
        await asyncio.sleep(0)
