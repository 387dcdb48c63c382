"""HTTP/1.1 on a socket: requests read with h11, replies sent whole or spoilt as a fault wants."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import struct

from t5distill.errors import UserError
from t5distill.teacher.loopback.bill import Entry

try:
    import h11
except ImportError as e:
    raise UserError("h11 is not installed; run: pip install '.[teacher]'") from e

_READ_BYTES = 65536
# Half a reply needs a moment to reach the client before the reset overtakes it.
_BEFORE_RESET_S = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """One request as it came.

    Attributes:
      method: `GET`, `POST`, ...
      path: without the query.
      query: what stands after the question mark, as it came.
      headers: by lower-case name.
      body: whole.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """What goes back for one request.

    Attributes:
      status: of HTTP.
      body: what is sent of it.
      entry: for the bill.
      headers: besides length and type.
      content_type: of the body.
      length: the Content-Length, where it is not that of the body.
      bodiless: whether the request was HEAD, whose reply is the headers alone.
      ending: `whole`; or `close` after the body; or `reset` after it; or `hang` instead of it.
    """

    status: int
    body: bytes
    entry: Entry
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    length: int | None = None
    ending: str = "whole"
    bodiless: bool = False


async def receive(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Call | None:
    """Return the next request, or None where the client has gone, be it in the middle of one.

    Raises:
      h11.RemoteProtocolError: what came is no HTTP/1.1.
    """
    head: h11.Request | None = None
    chunks: list[bytes] = []
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                writer.write(connection.send(go_on) or b"")
            data = await reader.read(_READ_BYTES)
            if not data:
                return None
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            chunks.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            path, _, query = head.target.decode("ascii").partition("?")
            return Call(
                method=head.method.decode("ascii"),
                path=path,
                query=query,
                headers={k.decode("ascii"): v.decode("latin-1") for k, v in head.headers},
                body=b"".join(chunks),
            )
        else:
            return None


async def send(
    connection: h11.Connection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    reply: Reply,
) -> bool:
    """Send a reply; return whether the connection can carry another request."""
    if reply.ending == "hang":
        # Until the client closes its side; what it sends meanwhile is of no interest.
        while await reader.read(_READ_BYTES):
            pass
        return False
    if reply.body or reply.ending != "reset":
        length = len(reply.body) if reply.length is None else reply.length
        head = h11.Response(
            status_code=reply.status,
            headers=[
                ("content-type", reply.content_type),
                ("content-length", str(length)),
                ("x-request-id", f"req-{reply.entry.number}"),
                *reply.headers,
            ],
        )
        body = b"" if reply.bodiless else reply.body
        sent = (connection.send(head) or b"") + (connection.send(h11.Data(body)) or b"")
        if reply.ending == "whole":
            sent += connection.send(h11.EndOfMessage()) or b""
        writer.write(sent)
        await writer.drain()
    if reply.ending == "reset":
        if reply.body:
            await asyncio.sleep(_BEFORE_RESET_S)
        # Closing with a linger time of 0 sends RST instead of FIN.
        raw: socket.socket = writer.get_extra_info("socket")
        if not writer.transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE
