"""One request to an OpenAI-compatible server: its status and bytes, or why there are none.

The openai SDK makes the connection; it neither retries (`generate` owns that) nor parses (the
ledger wants the bytes first).
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import importlib
import os
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Any, BinaryIO, NamedTuple

from t5distill.errors import UserError

# Of any server that is named by its address, and of `openai:MODEL`: one's key is not the other's.
KEY_VARIABLE, OPENAI_KEY_VARIABLE = "T5DISTILL_API_KEY", "OPENAI_API_KEY"
PATHS = {"chat": "/chat/completions", "completions": "/completions"}
OPENAI_URL = "https://api.openai.com/v1"
# Failures by which nothing has been sent; by name, as the SDK changed the HTTP library. aiohttp's
# own names decide: the SDK calls a connection that broke after the request a ConnectTimeout.
_UNSENT = {
    "aiohttp": ("ClientConnectorError", "ConnectionTimeoutError"),
    "httpx": ("ConnectError", "ConnectTimeout", "PoolTimeout"),
}


class Received(NamedTuple):
    """A reply.

    Attributes:
      status: of HTTP.
      raw: the body as it came.
      retry_after: seconds that the server asks to wait, or None.
    """

    status: int
    raw: bytes
    retry_after: float | None


class NoReplyError(Exception):
    """No whole reply came.

    Attributes:
      sent: whether the server may have seen the request, and charged for it.
    """

    def __init__(self, reason: str, *, sent: bool):
        super().__init__(reason)
        self.sent = sent


class Server(NamedTuple):
    """Where a teacher listens: `MODEL@URL`, or `openai:MODEL`.

    Attributes:
      model: its name there.
      url: of the API.
      key_variable: the environment variable that holds the key.
    """

    model: str
    url: str
    key_variable: str = KEY_VARIABLE


def parse_server(spec: str) -> Server:
    """Read what stands after --teacher.

    Raises:
      UserError: it is of neither form.
    """
    if spec.startswith("openai:") and spec != "openai:":
        url = os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
        return Server(spec.removeprefix("openai:"), url, OPENAI_KEY_VARIABLE)
    model, _, url = spec.rpartition("@")
    if not model or not url.startswith(("http://", "https://")):
        raise UserError(
            f"--teacher {spec!r}: wanted MODEL@URL (e.g. qwen3@http://127.0.0.1:8000/v1), "
            "openai:MODEL, replay:FILE or embedded"
        )
    return Server(model, url)


class Client:
    """A connection pool to one server. Use as an async context manager.

    Attributes:
      sdk: the openai SDK's client, which never retries.
      server: which one.
    """

    def __init__(self, server: Server, *, endpoint: str, timeout_s: float):
        """Make the client; nothing is sent yet.

        Args:
          server: model and URL.
          endpoint: `chat` or `completions`.
          timeout_s: how long a reply may take.

        Raises:
          UserError: the openai package is missing, or there is no key for a hosted server.
        """
        try:
            import openai
        except ModuleNotFoundError as e:
            raise UserError(f"{e}; install t5distill's extra 'teacher'") from e
        key = os.environ.get(server.key_variable)
        if not key and server.url.startswith("https://"):
            raise UserError(f"{server.url} wants a key: set ${server.key_variable}")
        self._openai, self.server = openai, server
        self.sdk = openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=server.url,
            max_retries=0,
            timeout=timeout_s,
            http_client=openai.DefaultAioHttpClient(timeout=timeout_s),
        )
        # The body goes as it is and comes back unparsed: the SDK's own call would turn the messages
        # over field by field, which costs more than all else in a request.
        library = openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
        response = importlib.import_module(library).Response
        self._post = functools.partial(self.sdk.post, PATHS[endpoint], cast_to=response)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.sdk.close()

    async def send(self, body: dict[str, Any]) -> Received:
        """Send one request.

        Raises:
          NoReplyError: the connection failed, broke or took too long.
        """
        return await self.exchange(self._post(body=body))

    async def exchange(self, call: Awaitable[Any]) -> Received:
        """Wait for a call of the SDK that gives a response; return it whatever its status.

        Raises:
          NoReplyError: the connection failed, broke or took too long.
        """
        try:
            response = await call
            response = getattr(response, "http_response", response)
        except self._openai.APIStatusError as e:
            response = e.response
        except self._openai.APIConnectionError as e:  # a timeout is one of these
            cause = _own_cause(e)
            raise NoReplyError(f"{type(cause).__name__}: {cause}", sent=_sent(cause)) from e
        return Received(response.status_code, response.content, _retry_after(response.headers))

    async def stream(self, call: AbstractAsyncContextManager[Any], target: BinaryIO) -> Received:
        """Write the body of a streamed call of the SDK into a file; return the rest of the reply.

        Raises:
          NoReplyError: likewise, also in the middle of the body.
          OSError: the file cannot be written.
        """
        async with contextlib.aclosing(self._parts(call)) as parts:
            async for part in parts:
                if isinstance(part, Received):
                    return part
                target.write(part)
        return Received(200, b"", None)

    async def _parts(
        self, call: AbstractAsyncContextManager[Any]
    ) -> AsyncGenerator[bytes | Received, None]:
        """Yield the chunks of a body, or the reply where the server had another one."""
        try:
            async with call as response:
                async for chunk in response.iter_bytes():
                    yield chunk
        except self._openai.APIStatusError as e:
            yield Received(e.status_code, e.response.content, _retry_after(e.response.headers))
        except Exception as e:
            # The SDK lets the errors of its HTTP library, whose name changes, through here.
            cause = _own_cause(e)
            raise NoReplyError(f"{type(cause).__name__}: {cause}", sent=True) from e


def _own_cause(error: BaseException) -> BaseException:
    """Return what the library below the SDK raised: aiohttp's own failure, else that of httpx."""
    cause = error.__cause__ or error
    inner = cause.__cause__
    return inner if inner and type(inner).__module__.startswith("aiohttp") else cause


def _sent(cause: BaseException) -> bool:
    """Tell whether the server may have seen the request."""
    library = "aiohttp" if type(cause).__module__.startswith("aiohttp") else "httpx"
    return not any(c.__name__ in _UNSENT[library] for c in type(cause).__mro__)


def _retry_after(headers: Any) -> float | None:
    """Return the seconds that a server asks to wait: a number, or a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
