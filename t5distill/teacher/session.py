"""One run of `generate`: the ledger opened, the teacher called, progress shown, Ctrl-C heard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

from t5distill.errors import UserError
from t5distill.records import Chain, read_jsonl
from t5distill.teacher import accounts
from t5distill.teacher.asking import Request
from t5distill.teacher.batch import book
from t5distill.teacher.batch.lines import ENDPOINTS
from t5distill.teacher.batch.run import BatchRun, Limits
from t5distill.teacher.client import Client, Server
from t5distill.teacher.command import GIVEN_UP
from t5distill.teacher.generate import Generation, Progress, settle_unparsed
from t5distill.teacher.imports import import_chains
from t5distill.teacher.ledger import Ledger
from t5distill.teacher.plan import Plan
from t5distill.teacher.prompts.rendering import canonical
from t5distill.teacher.showing import Shown
from t5distill.teacher.throttle import Budget, Throttle


def generate(plan: Plan) -> int:
    """Ask for what is missing.

    Returns:
      0 where all of it came, `GIVEN_UP` where the rest was given up after the last attempt, else 1.

    Raises:
      UserError: the server refused, or the ledger cannot be written.
      KeyboardInterrupt: a second Ctrl-C gave up what was under way.
    """
    with Ledger(plan.args.ledger) as ledger:
        settle_unparsed(ledger, plan.prices)
        book.drop_unsent(ledger, uploaded=not plan.args.batch)
        prompts = {a.items[0].prompt_sha: canonical(a.rendered) for a in plan.asked}
        items = [item for asked in plan.asked for item in asked.items]
        ledger.add_items(items, [(str(sha), body) for sha, body in prompts.items()]).result()
        _join(plan, ledger)
        missing = plan.missing()
        print(f"{len(items)} samples of {len(plan.asked)} problems, {len(missing)} to ask for")
        _tell_of_others(plan)
        _tell_of_batches(plan)
        ask = _ask_in_batches if plan.args.batch else _ask
        if missing:
            with _teacher(plan) as server:
                try:
                    progress = asyncio.run(ask(plan, ledger, server, missing))
                except asyncio.CancelledError:
                    raise KeyboardInterrupt from None  # a second Ctrl-C
        else:
            progress = Progress()
    left = len(plan.missing())
    print(_summary(plan, progress, left))
    if progress.refused:
        raise UserError(progress.stopped)
    if left and progress.failed and not progress.stopped:
        return GIVEN_UP
    return 1 if left else 0


@contextlib.contextmanager
def _teacher(plan: Plan) -> Iterator[Server]:
    """Give the teacher's server; the embedded one is started for the run."""
    if plan.server:
        yield plan.server
        return
    from t5distill.teacher.loopback import LoopbackTeacher

    with LoopbackTeacher(plan.problems, model=plan.sampling.model) as teacher:
        yield Server(plan.sampling.model, teacher.url)


def _join(plan: Plan, ledger: Ledger) -> None:
    """Write down the chains of two calls whose calls have both been answered."""
    if plan.calls == 2:
        # What was concluded last may not be on the disk yet, where `pending` looks.
        ledger.write(lambda _: None).result()
        ledger.import_answers(plan.pending(plan.keys_without_answer()).whole).result()


def _tell_of_others(plan: Plan) -> None:
    """Say whether chains of the same name were made with other options: they are curated as one."""
    kinds = {"style": plan.prompt.style, "teacher": plan.teacher}
    benchmarks = sorted({p.benchmark for p in plan.problems})
    ours = len(accounts.answered(plan.args.ledger, plan.keys))
    others = accounts.count(plan.args.ledger, benchmarks=benchmarks, **kinds) - ours
    if others > 0:
        print(
            f"the ledger has {others} more {plan.prompt.style} chains of {plan.teacher}, of other "
            "problems, samples or options; curate takes all of one name together, and --name "
            "keeps them apart"
        )


def _tell_of_batches(plan: Plan) -> None:
    """Say which batches of earlier runs are open, and how to get at those of other servers."""
    here = book.address(plan.server.url) if plan.server and plan.args.batch else None
    for batch in book.open_batches(plan.args.ledger):
        name = batch.batch_id or batch.token
        if batch.server == here:
            print(f"batch {name} is open from an earlier run and is fetched first")
        else:
            print(
                f"batch {name} at {batch.server} is open and its samples are not asked for: "
                "--batch and its --teacher fetch them, or give it up with "
                f"t5distill ledger abandon {plan.args.ledger} --batch {name}"
            )


async def _ask_in_batches(
    plan: Plan, ledger: Ledger, server: Server, missing: set[str]
) -> Progress:
    """Run the requests as batches of the provider, and leave these running on Ctrl-C."""
    args = plan.args
    limits = Limits(
        most_requests=args.batch_requests,
        money=plan.money,
        tokens=plan.tokens,
        max_attempts=args.max_attempts,
        longest_wait_s=args.batch_poll,
    )

    def wanted() -> list[Request]:
        _join(plan, ledger)
        return plan.requests(plan.keys_without_answer() & missing)

    async with Client(server, endpoint=args.endpoint, timeout_s=args.timeout) as client:
        run = BatchRun(
            ledger,
            client,
            server=server.url,
            endpoint=ENDPOINTS[args.endpoint],
            prices=plan.prices,
            limits=limits,
            wanted=wanted,
            say=lambda text: print(text, flush=True),
        )
        with _interruptible(run, "batches stay at the provider (again to end at once)"):
            return await run.run()


async def _ask(plan: Plan, ledger: Ledger, server: Server, missing: set[str]) -> Progress:
    """Run the requests on an event loop, with a progress bar and a clean stop on Ctrl-C."""
    args = plan.args
    budget = Budget(spent=accounts.spent(args.ledger), money=plan.money, tokens=plan.tokens)
    throttle = Throttle(
        concurrency=args.concurrency,
        requests_per_minute=args.requests_per_minute,
        tokens_per_minute=args.tokens_per_minute,
    )
    shown = Shown(
        plan.calls * len(missing),
        "chain" if plan.calls == 1 else "call",
        budget=budget,
        throttle=throttle,
        prices=plan.prices,
    )
    async with Client(server, endpoint=args.endpoint, timeout_s=args.timeout) as client:
        generation = Generation(
            ledger,
            client,
            throttle,
            budget,
            prices=plan.prices,
            concurrency=args.concurrency,
            max_attempts=args.max_attempts,
            report=shown.report,
        )
        with _interruptible(
            generation, "waiting for replies that are paid for (again to leave them)"
        ):
            await _call(plan, ledger, generation, missing)
    shown.close()
    return generation.progress


async def _call(plan: Plan, ledger: Ledger, generation: Generation, missing: set[str]) -> None:
    """Make the first calls for what is missing, and then the second ones where there are any."""
    asked: set[str] = set()
    for _ in range(plan.calls):
        # What was given up in the first round is not asked for again in the second.
        requests = [r for r in plan.requests(missing) if not asked.issuperset(r.keys)]
        asked.update(key for request in requests for key in request.keys)
        await generation.run(requests)
        _join(plan, ledger)
        if generation.progress.stopped:
            return


@contextlib.contextmanager
def _interruptible(run: Generation | BatchRun, words: str) -> Iterator[None]:
    """On Ctrl-C or SIGTERM stop sending and end in good order; a second one ends at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if run.progress.stopped:
            task.cancel()
            return
        print(f"\nstopping: {words}", flush=True)
        run.stop("interrupted")

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _summary(plan: Plan, progress: Progress, left: int) -> str:
    """Return what a run prints at its end."""
    cost = accounts.spent(plan.args.ledger)
    outcomes = ", ".join(f"{name} {n}" for name, n in progress.by_outcome.most_common())
    lines = [f"{progress.answered} answers in {progress.attempts} requests ({outcomes or 'none'})"]
    if progress.stopped:
        lines.append(f"stopped early: {progress.stopped}")
    if progress.failed:
        lines.append(
            f"{len(progress.failed)} requests given up after {plan.args.max_attempts} attempts, "
            f"the last: {progress.failed[-1][1]}"
        )
    money = f", cost {cost.money:.4f}" if cost.money else ""
    lines.append(f"spent so far, at most: {cost.tokens:,} tokens{money}")
    if left:
        go_on = "the same command goes on"
        if progress.stopped and "budget" in progress.stopped:
            go_on = "the same command with a larger --budget goes on"
        elif progress.refused:
            go_on = "once that is mended, generate goes on with what is missing"
        lines.append(f"{left} samples are missing; {go_on}")
    else:
        top = plan.args.top_logprobs
        lines.append(
            f"next: t5distill curate --problems {' '.join(plan.args.problems)} "
            f"--ledger {plan.args.ledger} --style {plan.prompt.style} --teacher {plan.teacher}"
            f"{f' --soft-labels {top}' if top else ''}"
        )
    return "\n".join(lines)


def replay(plan: Plan, path: str) -> None:
    """Put chains that were made elsewhere into the ledger, as answers to this plan's problems."""
    if not os.path.isfile(path):
        raise UserError(f"--teacher replay:{path}: no such file; wanted JSONL of Chain")
    benchmarks = {p.id: p.benchmark for p in plan.problems}
    chains = [c for c in read_jsonl(Chain, path) if c.problem_id in benchmarks]
    new = import_chains(plan.args.ledger, chains, benchmarks)
    print(f"{path}: {len(chains)} chains of these problems, {new} new in {plan.args.ledger}")
