"""The OpenAI-compatible protocol: requests checked, replies and errors put into JSON."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

# The legacy endpoint's own default; chat generates as much as it likes.
COMPLETIONS_MAX_TOKENS = 16

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"

# What would change the reply and is not done here is refused instead of ignored.
_REFUSED = ("stream", "echo", "tools", "functions", "suffix")


class ApiError(Exception):
    """A request that is refused, with the status and the fields of the error body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ):
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = headers

    def body(self) -> bytes:
        """Return the JSON that OpenAI's servers send."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return dumps({"error": error})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
    """One text to answer.

    Attributes:
      text: all of it, instructions and examples included.
      asked: where the question stands: the user's messages in order, or the whole prompt.
    """

    text: str
    asked: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request for text.

    Attributes:
      chat: whether it came to the chat endpoint.
      prompts: one for chat, one or several for completions.
      n: choices for each prompt.
      seed: the request's seed, or None.
      stop: texts before which the answer ends.
      max_tokens: the most tokens of one choice, or None.
      greedy: temperature 0.
      top_k: how many log-probabilities for each token (0: of the token alone), or None for none.
    """

    chat: bool
    prompts: tuple[Prompt, ...]
    n: int
    seed: int | None
    stop: tuple[str, ...]
    max_tokens: int | None
    greedy: bool
    top_k: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """One generated text.

    Attributes:
      text: as generated.
      tokens: its tokens, which joined are the text.
      finish_reason: `stop` or `length`.
      top: for each token (token, log-probability): its own first, then the likeliest others in
        order, so that the k likeliest are there, or the k likeliest and the token; None where not
        wanted.
    """

    text: str
    tokens: list[str]
    finish_reason: str
    top: list[list[tuple[str, float]]] | None


def dumps(obj: Any) -> bytes:
    """Return compact JSON."""
    return json.dumps(obj, ensure_ascii=False, separators=(",", ":")).encode()


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds; raise ApiError 400."""
    try:
        fields = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise ApiError(400, f"We could not parse the JSON body of your request: {e}") from e
    if not isinstance(fields, dict):
        raise ApiError(400, f"The body is {type(fields).__name__}, wanted a JSON object")
    return fields


def read_request(fields: dict[str, Any], *, chat: bool, model: str) -> Request:
    """Return the request that a body's fields make.

    Raises:
      ApiError: 400 where a field is missing or ill-formed, 404 where the model is another one.
    """
    fields = {k: v for k, v in fields.items() if v is not None}
    wanted = _field(fields, "model", str)
    if wanted is None:
        raise _missing("model")
    if wanted != model:
        raise unknown_model(wanted)
    for name in _REFUSED:
        if fields.get(name):
            raise _bad(name, "is not supported by this server: leave it out")
    limit = _whole(fields, "max_tokens", 1)
    if chat:
        limit = _whole(fields, "max_completion_tokens", 1) or limit
        top_k = (_whole(fields, "top_logprobs", 0, 20) or 0) if fields.get("logprobs") else None
        if fields.get("top_logprobs") is not None and top_k is None:
            raise _bad("top_logprobs", "needs logprobs to be true")
    else:
        limit = limit or COMPLETIONS_MAX_TOKENS
        top_k = _whole(fields, "logprobs", 0, 5)
    temperature = fields.get("temperature", 1.0)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise _bad("temperature", "is no number")
    if not 0.0 <= temperature <= 2.0:
        raise _bad("temperature", f"is {temperature}, wanted 0 to 2")
    return Request(
        chat=chat,
        prompts=(_conversation(fields),) if chat else _prompts(fields),
        n=_whole(fields, "n", 1, 128) or 1,
        seed=_field(fields, "seed", int),
        stop=_stop(fields),
        max_tokens=limit,
        greedy=temperature == 0.0,
        top_k=top_k,
    )


def reply(
    request: Request,
    choices: list[Choice],
    *,
    number: int,
    model: str,
    usage: tuple[int, int],
) -> bytes:
    """Return the body of a successful reply.

    Args:
      request: what was asked.
      choices: n for each prompt, in order.
      number: of the request, for the id.
      model: the model's name.
      usage: prompt tokens and completion tokens.
    """
    listed = []
    for index, choice in enumerate(choices):
        row: dict[str, Any] = {"index": index, "finish_reason": choice.finish_reason}
        if request.chat:
            row["message"] = {"role": "assistant", "content": choice.text, "refusal": None}
            row["logprobs"] = _chat_logprobs(choice, request.top_k)
        else:
            row["text"] = choice.text
            row["logprobs"] = _completion_logprobs(choice, request.top_k)
        listed.append(row)
    read, written = usage
    return dumps(
        {
            "id": f"{'chatcmpl' if request.chat else 'cmpl'}-{number}",
            "object": "chat.completion" if request.chat else "text_completion",
            "created": int(time.time()),
            "model": model,
            "choices": listed,
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
            },
            "system_fingerprint": "loopback",
        }
    )


def model_object(model: str) -> dict[str, Any]:
    """Return a model as the endpoints of models describe it."""
    return {"id": model, "object": "model", "created": 0, "owned_by": "t5distill"}


def unknown_model(name: str) -> ApiError:
    """Return the error of a model that there is not."""
    return ApiError(
        404,
        f"The model `{name}` does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )


def _chat_logprobs(choice: Choice, k: int | None) -> dict[str, Any] | None:
    if choice.top is None or k is None:
        return None

    def shown(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    # A token that is none of the k likeliest has the lowest value of its row and is left out.
    rows = [
        {
            **shown(*row[0]),
            "top_logprobs": [shown(*t) for t in sorted(row, key=lambda t: -t[1])[:k]],
        }
        for row in choice.top
    ]
    return {"content": rows, "refusal": None}


def _completion_logprobs(choice: Choice, k: int | None) -> dict[str, Any] | None:
    if choice.top is None or k is None:
        return None
    offsets, at = [], 0
    for token in choice.tokens:
        offsets.append(at)
        at += len(token)
    return {
        "tokens": choice.tokens,
        "token_logprobs": [row[0][1] for row in choice.top],
        # The token itself is always there, and so up to k + 1 tokens.
        "top_logprobs": [dict(row) if k else {} for row in choice.top],
        "text_offset": offsets,
    }


def _bad(param: str, what: str) -> ApiError:
    return ApiError(400, f"Invalid value for '{param}': it {what}.", param=param)


def _missing(param: str) -> ApiError:
    return ApiError(
        400,
        f"Missing required parameter: '{param}'.",
        param=param,
        code="missing_required_parameter",
    )


def _field(fields: dict[str, Any], name: str, kind: type) -> Any:
    """Return a field of the wanted type, or None where it is not there."""
    value = fields.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise _bad(name, f"is {type(value).__name__}, wanted {kind.__name__}")
    return value


def _whole(fields: dict[str, Any], name: str, low: int, high: int = 2**31) -> int | None:
    value = _field(fields, name, int)
    if value is not None and not low <= value <= high:
        raise _bad(name, f"is {value}, wanted {low} to {high}")
    return value


def _stop(fields: dict[str, Any]) -> tuple[str, ...]:
    stop = fields.get("stop", [])
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(s, str) for s in stop) or len(stop) > 4:
        raise _bad("stop", "is neither a text nor a list of 4 texts at most")
    return tuple(s for s in stop if s)


def _conversation(fields: dict[str, Any]) -> Prompt:
    messages = _field(fields, "messages", list)
    if not messages:
        raise _missing("messages")
    texts, asked = [], []
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _bad(where, "is no object with a role")
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(_part(part, where) for part in content)
        if not isinstance(content, str):
            raise _bad(f"{where}.content", "is neither a text nor a list of text parts")
        texts.append(content)
        if message["role"] == "user":
            asked.append(content)
    return Prompt(text="\n".join(texts), asked=tuple(asked))


def _part(part: Any, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    raise _bad(f"{where}.content", "has a part that is no text")


def _prompts(fields: dict[str, Any]) -> tuple[Prompt, ...]:
    prompt = fields.get("prompt")
    if prompt is None:
        raise _missing("prompt")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) for p in prompts):
        raise _bad("prompt", "is neither a text nor a list of texts")
    return tuple(Prompt(text=p, asked=(p,)) for p in prompts)
