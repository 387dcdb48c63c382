"""What is asked: sampling parameters, cache keys, and requests that ask for several samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Iterator
from typing import Any, NamedTuple

from t5distill.records import Problem
from t5distill.teacher import prompts
from t5distill.teacher.ledger import Cost, Item
from t5distill.teacher.prompts.rendering import digest, text_of

# A token of English or of figures has at least this many bytes on the average.
_BYTES_PER_TOKEN = 3


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the teacher draws; with the prompt it decides what an answer is.

    Attributes:
      model: the server's name for it.
      temperature: 0 for the likeliest text.
      top_p: the share of probability that is drawn from.
      max_tokens: of one reply.
      stop: texts to stop at.
      seed: sent where it is not None.
      top_logprobs: alternatives with log-probabilities for each token; 0 for none.
      extra: further fields of the request's body, as a server wants them; None takes one out.
    """

    model: str
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 400
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_logprobs: int = 0
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Prices:
    """Money for a million tokens, in any currency; zeros where nothing is billed."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Cost:
        """Return tokens with what they cost."""
        money = (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6
        return Cost(prompt_tokens, completion_tokens, money)


class Asked(NamedTuple):
    """One prompt and the samples wanted of it.

    Attributes:
      rendered: what the teacher reads.
      items: with the keys of what is wanted.
      lead: what leads the answer in, in a second call (see `two_calls`); empty without one.
    """

    rendered: list[dict[str, str]] | str
    items: list[Item]
    lead: str = ""


class Request(NamedTuple):
    """One HTTP request: some samples of one prompt.

    Attributes:
      keys: of the items that it asks for, one for each choice of the reply.
      body: the JSON that is sent.
      reserve: the most that it can cost.
    """

    keys: list[str]
    body: dict[str, Any]
    reserve: Cost


def cache_key(rendered: list[Any] | str, sampling: Sampling, sample: int) -> str:
    """Return the hash of everything that decides what an answer is."""
    return digest([rendered, dataclasses.asdict(sampling), sample])


def ask(
    problems: Iterable[Problem],
    prompt: prompts.Prompt,
    sampling: Sampling,
    *,
    teacher: str,
    samples: int,
    chat: bool,
    show_gold: bool,
) -> Iterator[Asked]:
    """Yield for each problem its prompt and its items."""
    for problem in problems:
        rendered = prompts.render(prompt, problem, chat=chat, show_gold=show_gold)
        sha = digest(rendered)
        lead = prompts.answer_lead(prompt, problem)
        # A chain of two calls has a key of its own, beside those of its calls.
        whole = [rendered, [lead, prompt.answer_tokens]] if lead else rendered
        items = [
            Item(
                key=cache_key(whole, sampling, sample),
                problem_id=problem.id,
                benchmark=problem.benchmark,
                style=prompt.style,
                teacher=teacher,
                sample=sample,
                prompt_sha=sha,
            )
            for sample in range(samples)
        ]
        yield Asked(rendered, items, lead)


def requests(
    asked: Iterable[Asked],
    sampling: Sampling,
    prices: Prices,
    *,
    missing: Container[str],
    choices: int,
) -> Iterator[Request]:
    """Yield the requests for the items whose keys are missing.

    Args:
      asked: prompts with their items.
      sampling: goes into each body.
      prices: for the reserve.
      missing: keys without an answer.
      choices: how many samples one request asks for at most (the protocol's `n`).
    """
    for rendered, items, _ in asked:
        wanted = [item for item in items if item.key in missing]
        for i in range(0, len(wanted), choices):
            some = wanted[i : i + choices]
            body = _body(rendered, sampling, some)
            tokens = most_tokens(text_of(rendered))
            reserve = prices.cost(tokens, len(some) * sampling.max_tokens)
            yield Request([item.key for item in some], body, reserve)


def most_tokens(text: str) -> int:
    """Return the most tokens that a text may have."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def _body(
    rendered: list[dict[str, str]] | str, sampling: Sampling, items: list[Item]
) -> dict[str, Any]:
    """Return the JSON of a request in the OpenAI-compatible protocol."""
    body: dict[str, Any] = {
        "model": sampling.model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if len(items) > 1:
        body["n"] = len(items)
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        # Another seed for each first sample, else every request would draw the same text.
        body["seed"] = sampling.seed + items[0].sample
    chat = not isinstance(rendered, str)
    if sampling.top_logprobs:
        if chat:
            body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
        else:
            body["logprobs"] = sampling.top_logprobs
    body |= {"messages": rendered} if chat else {"prompt": rendered}
    return {name: value for name, value in {**body, **sampling.extra}.items() if value is not None}
