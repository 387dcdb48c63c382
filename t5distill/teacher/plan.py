"""What a `generate` command asks for: arguments checked, prompts rendered, the cost known."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re

from t5distill.errors import UserError, suggest
from t5distill.records import STYLES, Problem, read_problems
from t5distill.teacher import accounts, asking, prompts, two_calls
from t5distill.teacher.asking import Asked, Prices, Request, Sampling
from t5distill.teacher.client import Server, parse_server
from t5distill.teacher.ledger import Cost
from t5distill.teacher.prompts.rendering import text_of
from t5distill.teacher.schema import local

EMBEDDED = "embedded"
# The openai SDK's connection pool holds no more.
MOST_AT_ONCE = 1000
# For the expected length of a reply; the reserve counts shorter tokens, to be safe.
_BYTES_PER_TOKEN = 4
# As long as the lead of an answer with the names of the roles around it.
_LEAD_ROOM = " " * 90


# The least that each option may be.
_LEAST = {
    **{"samples": 1, "limit": 1, "concurrency": 1, "max_attempts": 1, "choices": 1},
    **{"top_logprobs": 0, "batch_requests": 1, "max_tokens": 1, "temperature": 0.0},
    **{"price_prompt": 0.0, "price_completion": 0.0, "timeout": 0.001},
    **{"requests_per_minute": 0.001, "tokens_per_minute": 0.001},
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that a run needs.

    Attributes:
      args: the command's arguments, for what needs no checking.
      problems: to be solved.
      server: the teacher's, or None for one that is replayed or embedded.
      teacher: its name on chains.
      prompt: what is asked.
      sampling: how it is drawn.
      prices: of tokens.
      money: the most that may be spent, or None.
      tokens: likewise, in tokens.
      asked: prompts and items of all the problems.
    """

    args: argparse.Namespace
    problems: list[Problem]
    server: Server | None
    teacher: str
    prompt: prompts.Prompt
    sampling: Sampling
    prices: Prices
    money: float | None
    tokens: int | None
    asked: list[Asked]

    @property
    def keys(self) -> set[str]:
        """The keys of all items."""
        return {item.key for asked in self.asked for item in asked.items}

    @property
    def calls(self) -> int:
        """How many calls a chain takes: two for a prompt with an answer lead."""
        return 2 if self.prompt.answer_lead else 1

    @property
    def answering(self) -> Sampling:
        """How the answer is drawn in the second call: the likeliest, since it only reads off."""
        return dataclasses.replace(
            self.sampling, temperature=0.0, max_tokens=self.prompt.answer_tokens
        )

    def keys_without_answer(self) -> set[str]:
        """Return the keys that the ledger has no answer to."""
        keys = self.keys
        return keys - accounts.answered(self.args.ledger, keys) if self._has_ledger() else keys

    def missing(self) -> set[str]:
        """Return the keys that the ledger has no answer to (of failed ones, if that is asked)."""
        missing = self.keys_without_answer()
        if not self.args.retry_failed or not self._has_ledger():
            return missing
        failed = accounts.failed(self.args.ledger)
        if self.calls == 1:
            return missing & failed
        return {key for call, key in self.pending(missing).chains.items() if call in failed}

    def pending(self, missing: set[str]) -> two_calls.Pending:
        """Return how far the chains of `missing` have come, where each takes two calls."""
        return two_calls.pending(
            self.asked,
            self.sampling,
            self.answering,
            missing=missing,
            answers=lambda keys: (
                accounts.answers(self.args.ledger, keys) if self._has_ledger() else {}
            ),
        )

    def requests(self, missing: set[str]) -> list[Request]:
        """Return the requests for what is missing and not in an open batch.

        Of two calls the second is among them once the first has been answered.
        """
        choices = max(1, self.args.choices)
        under_way = self.under_way()
        if self.calls == 1:
            stages = [(self.asked, self.sampling, missing - under_way)]
        else:
            pending = self.pending(missing)
            left = set(pending.chains) - under_way
            stages = [
                (pending.first, self.sampling, left),
                (pending.second, self.answering, left),
            ]
        return [
            request
            for asked, sampling, keys in stages
            for request in asking.requests(
                asked, sampling, self.prices, missing=keys, choices=choices
            )
        ]

    def under_way(self) -> set[str]:
        """Return the keys that open batches ask for."""
        return accounts.under_way(self.args.ledger) if self._has_ledger() else set()

    def _has_ledger(self) -> bool:
        return local(self.args.ledger).is_file()


def make(args: argparse.Namespace) -> Plan:
    """Check a command's arguments and render its prompts.

    Raises:
      UserError: an argument is wrong, or a problem file is.
    """
    _check(args)
    problems = _problems(args)
    server = None
    if args.teacher != EMBEDDED and not args.teacher.startswith("replay:"):
        server = parse_server(args.teacher)
    prompt = prompts.load(args.prompt or args.style or "cot")
    if args.style not in (None, prompt.style):
        raise UserError(
            f"--style {args.style}, but the prompt {prompt.name} asks for style {prompt.style}; "
            "leave one of the two out"
        )
    money, tokens, prices = limits(args)
    sampling = Sampling(
        model=server.model if server else EMBEDDED,
        temperature=args.temperature,
        top_p=args.top_p,
        max_tokens=args.max_tokens or prompt.max_tokens,
        stop=tuple(prompt.stop),
        seed=args.seed,
        top_logprobs=args.top_logprobs,
        extra=_body(args.body),
    )
    teacher = args.name or re.sub(r"[^A-Za-z0-9.-]+", "-", sampling.model).strip("-")
    asked = asking.ask(
        problems,
        prompt,
        sampling,
        teacher=teacher,
        samples=args.samples,
        chat=args.endpoint == "chat",
        show_gold=args.show_gold,
    )
    return Plan(
        args, problems, server, teacher, prompt, sampling, prices, money, tokens, list(asked)
    )


def _check(args: argparse.Namespace) -> None:
    """Raise UserError where a number or a name is out of its range."""
    if args.style is not None and args.style not in STYLES:
        raise UserError(f"--style {args.style!r}; {suggest(args.style, STYLES)}")
    for name, smallest in _LEAST.items():
        value = getattr(args, name)
        if value is not None and not value >= smallest:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {value}: wanted at least {smallest:g}")
    if args.concurrency > MOST_AT_ONCE:
        raise UserError(f"--concurrency {args.concurrency}: wanted at most {MOST_AT_ONCE}")
    if args.batch and (args.teacher == EMBEDDED or args.teacher.startswith("replay:")):
        raise UserError(
            f"--teacher {args.teacher} has no batch API that outlives the command: leave --batch "
            "out, or start `python -m t5distill.teacher.loopback` and give MODEL@URL"
        )
    if args.samples > 1 and args.temperature == 0:
        raise UserError(
            f"--samples {args.samples} at --temperature 0 would be the same text each time; "
            "wanted a temperature above 0"
        )


def _problems(args: argparse.Namespace) -> list[Problem]:
    """Read the problems; none at all is the user's mistake."""
    problems = read_problems(args.problems)
    if not problems:
        raise UserError(f"no problems in {', '.join(args.problems)}")
    return list(problems.values())[: args.limit]


def limits(args: argparse.Namespace) -> tuple[float | None, int | None, Prices]:
    """Return what may be spent, in money and in tokens (None: no limit), and the prices.

    Raises:
      UserError: the budget is neither, or it is money and a price is missing.
    """
    money, tokens = _budget(args.budget)
    prices = Prices(args.price_prompt, args.price_completion)
    if money is not None and 0.0 in (prices.prompt, prices.completion):
        raise UserError(
            f"--budget {args.budget} is money: give both --price-prompt and --price-completion, or "
            "a budget in tokens, e.g. 2000000tokens"
        )
    return money, tokens, prices


def _budget(text: str | None) -> tuple[float | None, int | None]:
    """Read `5.00` as money and `2000000tokens` as tokens."""
    if text is None:
        return None, None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(tokens?)?", text.replace(",", ""))
    if not found:
        raise UserError(f"--budget {text!r}: wanted money, e.g. 5.00, or e.g. 2000000tokens")
    return (None, int(float(found[1]))) if found[2] else (float(found[1]), None)


def _body(text: str) -> dict[str, object]:
    try:
        body = json.loads(text)
    except ValueError as e:
        raise UserError(f"--body: not JSON: {e}") from e
    if not isinstance(body, dict):
        raise UserError(f"--body is {text}, wanted a JSON object")
    return body


def describe(plan: Plan) -> str:
    """Return what `--dry-run` prints: a whole prompt, and what all of them will cost."""
    missing = plan.missing()
    wanted = plan.requests(missing)
    lines = [text_of(plan.asked[0].rendered), "", "-" * 60]
    lines.append(f"prompt {plan.prompt.name}, style {plan.prompt.style}: {plan.prompt.about}")
    lines.append(
        f"{len(plan.keys)} samples of {len(plan.asked)} problems; {len(missing)} are missing, in "
        f"{len(wanted)} requests"
    )
    if under_way := plan.under_way():
        lines.append(f"open batches ask for {len(under_way)} samples, which are left out here")
    if not wanted:
        return "\n".join(lines)
    prompt_tokens = sum(
        len(json.dumps(r.body.get("messages", r.body.get("prompt"))).encode()) // _BYTES_PER_TOKEN
        for r in wanted
    )
    exemplars = [len(e["text"].encode()) // _BYTES_PER_TOKEN for e in plan.prompt.exemplars]
    reply = sum(exemplars) / len(exemplars) if exemplars else plan.sampling.max_tokens / 2
    expected = plan.prices.cost(prompt_tokens, int(reply * sum(len(r.keys) for r in wanted)))
    most_prompt = sum(r.reserve.prompt_tokens for r in wanted)
    most = plan.prices.cost(most_prompt, sum(r.reserve.completion_tokens for r in wanted))
    if plan.calls == 2:
        later, likely, at_most = _second_calls(plan, missing, reply)
        expected, most = _sum(expected, likely), _sum(most, at_most)
        lines.append(f"and {later} second calls, which ask for the answer of a rationale")
    for what, cost in (("expected", expected), ("at most", most)):
        lines.append(
            f"{what:9} {cost.prompt_tokens:,} prompt and {cost.completion_tokens:,} reply tokens"
            + (f", cost {cost.money:.2f}" if plan.prices != Prices() else "")
        )
    return "\n".join(lines)


def _second_calls(plan: Plan, missing: set[str], reply: float) -> tuple[int, Cost, Cost]:
    """Return how many second calls have to wait for a first, their likely and their most cost.

    Args:
      plan: of two calls.
      missing: keys of the chains that are not there.
      reply: the likely tokens of a rationale.
    """
    likely = most = Cost()
    count = 0
    for asked in plan.pending(missing).first:
        text = text_of(asked.rendered)
        n = len(asked.items)
        count += n
        size = len(text.encode()) // _BYTES_PER_TOKEN + int(reply)
        likely = _sum(likely, plan.prices.cost(n * size, n * plan.answering.max_tokens // 2))
        size = asking.most_tokens(text + _LEAD_ROOM) + plan.sampling.max_tokens
        most = _sum(most, plan.prices.cost(n * size, n * plan.answering.max_tokens))
    return count, likely, most


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.money + other.money,
    )
