"""Run the loopback teacher as a process, until SIGTERM or SIGINT (or --until-eof)."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from t5distill.errors import UserError
from t5distill.records import Problem, read_jsonl
from t5distill.teacher.loopback import Faults, LoopbackTeacher

_EXAMPLE = """example:
  t5distill prepare embedded
  python -m t5distill.teacher.loopback --problems data/embedded/train.jsonl --port 8000 \\
    --wrong-rate 0.2 --faults too_many_requests=0.1,server_error=0.05 --bill bill.jsonl
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m t5distill.teacher.loopback",
        description="Serve the embedded problems through an OpenAI-compatible API on 127.0.0.1.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--problems", required=True, nargs="+", metavar="FILE", help="JSON Lines of problems")
    add("--port", type=int, default=0, help="0 takes a free one (0)")
    add("--seed", type=int, default=0, help="of answers and faults (0)")
    add("--model", default="loopback", help="name of the only model (loopback)")
    add("--wrong-rate", type=float, default=0.0, metavar="P", help="share of wrong answers (0)")
    add(
        "--malformed-rate", type=float, default=0.0, metavar="P", help="share of malformed ones (0)"
    )
    add("--latency", type=float, default=0.0, metavar="S", help="seconds before a reply (0)")
    add("--requests-per-minute", type=int, metavar="N", help="beyond them 429 (no limit)")
    add("--faults", default="", metavar="NAME=P,...", help="see faults.py; shares of requests")
    add("--api-key", metavar="KEY", help="what a client must send (anything)")
    add("--bill", metavar="FILE", help="append a line for every request")
    add("--bill-fsync", action="store_true", help="have each line of the bill on disk at once")
    add("--batch-polls", type=int, default=2, metavar="N", help="polls until a batch is done (2)")
    add(
        "--until-eof",
        action="store_true",
        help="end when standard input does: with whoever holds the other end of that pipe",
    )
    add(
        "--batch-outcomes",
        default="",
        metavar="END,...",
        help="how the first batches end: completed, expired or full (all completed)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    args = _parser().parse_args(argv)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        teacher = LoopbackTeacher(
            (p for path in args.problems for p in read_jsonl(Problem, path)),
            seed=args.seed,
            wrong_rate=args.wrong_rate,
            malformed_rate=args.malformed_rate,
            latency_s=args.latency,
            requests_per_minute=args.requests_per_minute,
            faults=Faults.parse(args.faults),
            api_key=args.api_key,
            model=args.model,
            port=args.port,
            bill_file=args.bill,
            bill_fsync=args.bill_fsync,
            batch_polls=args.batch_polls,
            batch_outcomes=list(filter(None, args.batch_outcomes.split(","))),
        )
        with teacher:
            print(f"listening on {teacher.url}", flush=True)
            if args.until_eof:
                threading.Thread(target=_read_to_end, args=[stopped], daemon=True).start()
            stopped.wait()
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0


def _read_to_end(stopped: threading.Event) -> None:
    """Set the event when standard input ends."""
    # Not sys.stdin: a thread that waits in it makes the interpreter fail at its own end.
    while os.read(0, 4096):
        pass
    stopped.set()


if __name__ == "__main__":
    sys.exit(main())
