"""Raw bytes of a reply into answers, or into a reason why there are none."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from t5distill.teacher.ledger import Answer


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


def _tokens(logprobs: Any) -> list[dict[str, Any]] | None:
    """Return log-probabilities as `Chain.meta["tokens"]` has them."""
    if not isinstance(logprobs, dict):
        return None
    if isinstance(logprobs.get("content"), list):  # a chat's
        return [
            {
                "text": token["token"],
                "top": [[t["token"], t["logprob"]] for t in token.get("top_logprobs") or []],
            }
            for token in logprobs["content"]
        ]
    if not isinstance(logprobs.get("tokens"), list):
        return None
    tops = logprobs.get("top_logprobs") or [{}] * len(logprobs["tokens"])
    return [
        {"text": text, "top": [[t, p] for t, p in (top or {}).items()]}
        for text, top in zip(logprobs["tokens"], tops, strict=True)
    ]


def server_words(status: int, raw: bytes) -> str:
    """Return the status of an error and what the server said in its body, on one line."""
    text = raw.decode("utf-8", errors="replace")
    try:
        error = json.loads(text)["error"]
        text = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        pass
    return f"HTTP {status}: {' '.join(text.split())[:500]}"
