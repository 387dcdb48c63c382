"""`t5distill generate`: ask a teacher for chains, paid for once."""

from __future__ import annotations

import argparse

HELP = (
    "Ask a teacher for chains of thought and keep every reply in a ledger. The same command again "
    "asks only for what is missing."
)
EXAMPLE = (
    "t5distill generate --problems data/gsm8k/train.jsonl --teacher qwen3@http://127.0.0.1:8000/v1 "
    "--style cot --samples 4 --ledger gsm8k.db --budget 2000000tokens"
)
# Exit code: all was asked for, and for some of it no attempt brought an answer.
GIVEN_UP = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("--problems", required=True, nargs="+", metavar="F", help="JSONL of Problem")
    add(
        "--teacher",
        required=True,
        metavar="SPEC",
        help="MODEL@URL of an OpenAI-compatible server, openai:MODEL, replay:FILE (JSONL of "
        "Chain), or embedded (a server of our own that solves the embedded problems); a server's "
        "key comes from $T5DISTILL_API_KEY, that of openai:MODEL from $OPENAI_API_KEY",
    )
    add("--ledger", required=True, metavar="DB", help="where everything is kept (SQLite)")
    what = parser.add_argument_group("what is asked")
    add = what.add_argument
    add("--style", help="style of the chains (default: the prompt's, or cot)")
    add(
        "--prompt", metavar="NAME", help="prompt of the project or a JSON file (default: the style)"
    )
    add("--samples", type=int, default=1, metavar="N", help="chains for each problem (default: 1)")
    add("--show-gold", action="store_true", help="tell the teacher the answer (Magister et al.)")
    add("--limit", type=int, metavar="K", help="only the first K problems")
    add("--name", help="the teacher's name on its chains (default: the model's)")
    _add_sampling(parser)
    _add_cost_and_pace(parser)
    _add_batch(parser)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how it is sampled")
    add = how.add_argument
    add("--endpoint", choices=("chat", "completions"), default="chat")
    # One default for any number of samples: more of them later must not pay for the first again.
    add("--temperature", type=float, default=0.7, help="default: 0.7")
    add("--top-p", type=float, default=1.0)
    add("--max-tokens", type=int, help="of one reply (default: the prompt's)")
    add("--seed", type=int, help="sent to the server")
    add("--top-logprobs", type=int, default=0, metavar="K", help="keep K log-probabilities a token")
    add(
        "--body",
        default="{}",
        metavar="JSON",
        help="further fields of each request; null takes one out, e.g. "
        '\'{"max_tokens": null, "max_completion_tokens": 800}\'',
    )
    add("--choices", type=int, default=8, metavar="N", help="samples in one request (default: 8)")


def _add_cost_and_pace(parser: argparse.ArgumentParser) -> None:
    money = parser.add_argument_group("what it may cost")
    add = money.add_argument
    add("--budget", metavar="B", help="most that the ledger may cost: 5.00, or 2000000tokens")
    add("--price-prompt", type=float, default=0.0, metavar="P", help="money for 1M prompt tokens")
    add("--price-completion", type=float, default=0.0, metavar="P", help="likewise, of replies")
    add("--dry-run", action="store_true", help="print a prompt and the expected cost; send nothing")
    pace = parser.add_argument_group("pace")
    add = pace.add_argument
    add("--concurrency", type=int, default=32, help="requests under way at most (default: 32)")
    add("--requests-per-minute", type=float, metavar="R")
    add("--tokens-per-minute", type=float, metavar="T")
    add("--timeout", type=float, default=300.0, metavar="S", help="for one reply (default: 300 s)")
    add("--max-attempts", type=int, default=8, help="for one request (default: 8)")
    add("--retry-failed", action="store_true", help="only what was asked for and never answered")


def _add_batch(parser: argparse.ArgumentParser) -> None:
    batch = parser.add_argument_group(
        "the provider's batch API, which is cheaper and takes its time"
    )
    batch.add_argument(
        "--batch",
        action="store_true",
        help="send what is missing as batches (/v1/files, /v1/batches) and wait for them; Ctrl-C "
        "leaves them running, the same command goes on; give the batch's prices with --price-*",
    )
    batch.add_argument(
        "--batch-requests",
        type=int,
        default=50_000,
        metavar="N",
        help="requests in one batch (default: 50000, OpenAI's limit; fewer where it has no room)",
    )
    batch.add_argument(
        "--batch-poll",
        type=float,
        default=60.0,
        metavar="S",
        help="longest wait between two looks at a batch, or two tries (default: 60 s)",
    )


def check(args: argparse.Namespace) -> None:
    """Raise UserError where the budget is none."""
    from t5distill.teacher import plan

    plan.limits(args)


def run(args: argparse.Namespace) -> int:
    """Ask for what is missing; return 0, or 1 or `GIVEN_UP` where something is still missing."""
    from t5distill.teacher import plan, session

    planned = plan.make(args)
    if args.teacher.startswith("replay:"):
        session.replay(planned, args.teacher.removeprefix("replay:"))
        return 0
    if args.dry_run:
        print(plan.describe(planned))
        return 0
    return session.generate(planned)
