"""Raw bytes of a reply into answers, or into a reason why there are none."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, NamedTuple

from t5distill.teacher.ledger import Answer

# How a completion writes a token that is a part of a character.
_BYTES = re.compile(r"bytes:(?:\\x[0-9a-fA-F]{2})+")


class Reply(NamedTuple):
    """A parsed reply.

    Attributes:
      answers: one for each choice that can be read, at most one for each key.
      prompt_tokens: as the server counted, or None.
      completion_tokens: likewise.
    """

    answers: list[Answer]
    prompt_tokens: int | None
    completion_tokens: int | None


class MalformedReplyError(ValueError):
    """A reply of status 200 that holds no answers."""


def parse(keys: list[str], raw: bytes) -> Reply:
    """Read a reply of either endpoint.

    Args:
      keys: of the items that were asked for, in the order of the choices' indices.
      raw: the body.

    Raises:
      MalformedReplyError: it is not UTF-8 JSON of the protocol's form.
    """
    try:
        body = json.loads(raw.decode("utf-8"))
        choices = sorted(body["choices"], key=lambda c: c.get("index", 0))
        answers = [_answer(key, choice) for key, choice in zip(keys, choices, strict=False)]
        usage = body.get("usage") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise MalformedReplyError(f"{type(e).__name__}: {e}") from e
    if not answers:
        raise MalformedReplyError("no choices")
    return Reply(answers, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and value >= 0 else None


def _answer(key: str, choice: dict[str, Any]) -> Answer:
    """Return one choice of a chat or of a completion."""
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    if not isinstance(text, str):
        # A refusal, or a tool call that nobody asked for, has no content: an empty answer, which
        # curate rejects; asking again would be paid again.
        text = ""
    # Half a surrogate pair, as a cut emoji leaves it, is no text and could not be stored.
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    return Answer(key, text, choice.get("finish_reason"), _tokens(choice.get("logprobs")))


class _Token(NamedTuple):
    """A token as a server sent it.

    Attributes:
      text: of the token alone; of a part of a character no text.
      data: its bytes, or None where the server does not say.
      logprob: its own, or None.
      top: the alternatives' texts, bytes and log-probabilities.
    """

    text: Any
    data: bytes | None
    logprob: Any
    top: list[tuple[Any, bytes | None, Any]]


def _tokens(logprobs: Any) -> list[dict[str, Any]] | None:
    """Return log-probabilities as `Chain.meta["tokens"]` has them.

    Joined, the tokens' texts are the reply: of several tokens that are bytes of one character the
    last has the character and the others are empty.
    """
    if not isinstance(logprobs, dict):
        return None
    if isinstance(logprobs.get("content"), list):  # a chat's
        return _whole_characters([_chat_token(token) for token in logprobs["content"]])
    if not isinstance(logprobs.get("tokens"), list):
        return None
    texts = logprobs["tokens"]
    own = logprobs.get("token_logprobs") or [None] * len(texts)
    tops = logprobs.get("top_logprobs") or [{}] * len(texts)
    return _whole_characters(
        [
            _Token(text, _data(text), logprob, [(t, _data(t), p) for t, p in (top or {}).items()])
            for text, logprob, top in zip(texts, own, tops, strict=True)
        ]
    )


def _chat_token(token: dict[str, Any]) -> _Token:
    top = token.get("top_logprobs") or []
    return _Token(
        token["token"],
        _data(token["token"], token.get("bytes")),
        token.get("logprob"),
        [(t["token"], _data(t["token"], t.get("bytes")), t["logprob"]) for t in top],
    )


def _data(text: Any, given: Any = None) -> bytes | None:
    """Return a token's bytes: as given, as a completion writes parts of characters, or its text's.

    None where what is given, or the text, is of another kind.
    """
    if isinstance(given, list) and all(isinstance(b, int) and 0 <= b < 256 for b in given):
        return bytes(given)
    if not isinstance(text, str):
        return None
    if _BYTES.fullmatch(text):
        return bytes.fromhex(text.removeprefix("bytes:").replace("\\x", ""))
    return text.encode("utf-8", errors="replace")


def _whole_characters(tokens: list[_Token]) -> list[dict[str, Any]]:
    """Return tokens with texts that joined are the reply, and their own alternative among others.

    A server that was asked for the likeliest few leaves out a sampled token that is none of them;
    it comes first then.
    """
    found: list[dict[str, Any]] = []
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        text = token.text
        if token.data is not None:
            # Spaces before a part of a character are text already.
            text = decoder.decode(token.data)
        top, own_there = [], False
        for other, data, logprob in token.top:
            if not own_there and (other, data) == (token.text, token.data):
                own_there, other = True, text
            top.append([_storable(other), logprob])
        if not own_there and isinstance(token.logprob, int | float):
            top.insert(0, [text, token.logprob])
        found.append({"text": text, "top": top})
    rest = decoder.decode(b"", final=True)
    if rest and isinstance(found[-1]["text"], str):
        found[-1]["text"] += rest  # the reply ends inside of a character
    return found


def _storable(text: Any) -> Any:
    """Return a text without half of a surrogate pair, as `_answer` does it."""
    return text.encode("utf-8", errors="replace").decode() if isinstance(text, str) else text


def server_words(status: int, raw: bytes) -> str:
    """Return the status of an error and what the server said in its body, on one line."""
    text = raw.decode("utf-8", errors="replace")
    try:
        error = json.loads(text)["error"]
        text = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        pass
    return f"HTTP {status}: {' '.join(text.split())[:500]}"
