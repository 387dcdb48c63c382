"""Training and greedy decoding of a T5 1.1 small-sized student beside other engines.

    python -m benchmarks.engines --out engines.json

Every contender gets the same weights and the same GSM8K text. In a sweep each looks for its best
setting (number format; batch size or row length); then all take turns, A B C A B C ..., so that
whatever else the machine does meets all alike. What counts is real target tokens per second:
padding is no work done. Compilation is not counted, and reported apart. Computes on the CPU.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from typing import Any

from benchmarks import reporting, workload
from benchmarks.contenders import ENGINES, Contender, ContenderError, Engine, NotInstalledError
from benchmarks.workload import Turn, Workload
from t5distill.student.config import T5Config

PHASES = ("training", "decoding")
TINY = T5Config(
    emb_dim=64, num_heads=2, head_dim=32, mlp_dim=128, num_encoder_layers=1, num_decoder_layers=1
)
# Row lengths to pack into (inputs, targets); the first is that of the GSM8K recipe.
LAYOUTS = ((512, 512), (256, 256))
# Sweeps of decoding write fewer tokens: they choose a setting, and the rounds measure it.
SWEEP_SHARE = 4


def parse(arguments: list[str] | None) -> argparse.Namespace:
    root = os.environ.get("T5DISTILL_REAL_DATA", "")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--data",
        default=os.path.join(root, "gsm8k") if root else "",
        help="folder with GSM8K's train.jsonl and test.jsonl (default: $T5DISTILL_REAL_DATA/gsm8k)",
    )
    parser.add_argument(
        "--vocab",
        default=os.path.join(root, "t5_vocab", "spiece.model") if root else "",
        help="SentencePiece model (default: $T5DISTILL_REAL_DATA/t5_vocab/spiece.model)",
    )
    parser.add_argument("--checkpoint", metavar="DIR", help="weights; random ones by default")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    # 34 fill six packed rows of 512 nearly as well as an endless stream would.
    parser.add_argument("--examples", type=int, default=34, help="of a training turn (default: 34)")
    parser.add_argument("--prompts", type=int, default=32, help="of a decoding turn (default: 32)")
    parser.add_argument("--max-tokens", type=int, default=128, help="of an output (default: 128)")
    parser.add_argument(
        "--engines",
        nargs="+",
        choices=[engine.name for engine in ENGINES],
        default=[engine.name for engine in ENGINES],
        help="contenders (default: all that are installed)",
    )
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES)
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON too")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny network, one round: to see that all works"
    )
    args = parser.parse_args(arguments)
    if min(args.rounds, args.examples, args.prompts, args.max_tokens) < 1:
        parser.error("--rounds, --examples, --prompts and --max-tokens are at least 1")
    if args.quick:
        args.rounds, args.examples, args.prompts, args.max_tokens = 1, 8, 8, 16
    return args


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return an exit code."""
    report = reporting.measured(run, parse(arguments))
    return 2 if report is None else int(bool(report["failed"]))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Prepare, sweep and take turns; return all that was measured."""
    workload.check_files(args.data, args.vocab)
    request = workload.Request(
        data=args.data,
        vocab=args.vocab,
        config=TINY if args.quick else T5Config(),
        examples=args.examples,
        prompts=args.prompts,
        max_new_tokens=args.max_tokens,
        layouts=LAYOUTS[:1] if args.quick else LAYOUTS,
        checkpoint=args.checkpoint,
    )
    started = time.time()
    engines = [engine for engine in ENGINES if engine.name in args.engines]
    report: dict[str, Any] = {
        "machine": {
            "processor": _processor(),
            "cores": workload.cores(),
            "load_before": os.getloadavg(),
        },
        "not_installed": {},
        "failed": {},
    }
    with tempfile.TemporaryDirectory(prefix="t5distill-bench-") as folder:
        # A process of its own, as TensorFlow's and JAX's memory would stay in this one.
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
            work = pool.submit(workload.prepare, folder, request).result()
        report["workload"] = _describe(work, args)
        print(reporting.heading(report))
        best, report["sweep"] = sweep(engines, work, args.phases, report)
        for phase in args.phases:
            chosen = {name: settings[phase] for name, settings in best.items() if phase in settings}
            report[phase] = rounds(phase, chosen, work, args.rounds, report)
    report["machine"]["load_after"] = os.getloadavg()
    report["seconds"] = time.time() - started
    print(reporting.tables(report))
    return report


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _describe(work: Workload, args: argparse.Namespace) -> dict[str, Any]:
    return {
        "network": work.config.to_dict(),
        "weights": args.checkpoint or f"random, seed {workload.SEED}",
        "examples": len(work.examples),
        "target_tokens": work.target_tokens,
        "input_tokens": sum(len(inputs) for inputs, _ in work.examples),
        "packed_rows": {str(k): len(v["decoder_target_tokens"]) for k, v in work.packed.items()},
        "packed_padding": {str(k): work.padding_share(k) for k in work.packed},
        "prompts": len(work.prompts),
        "longest_prompt": max(len(prompt) for prompt in work.prompts),
        "max_new_tokens": work.max_new_tokens,
        "rounds": args.rounds,
    }


def sweep(
    engines: list[Engine], work: Workload, phases: list[str], report: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Find each engine's fastest settings.

    Returns:
      By engine and phase the best setting, and a row for everything that was tried. Engines that
      are missing or fail are noted in `report`.
    """
    short = max(1, work.max_new_tokens // SWEEP_SHARE)
    shortened = dataclasses.replace(work, max_new_tokens=short)
    best: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    print(reporting.sweep_heading(short))
    for engine in engines:
        try:
            with Contender(engine, shortened) as contender:
                report.setdefault("versions", {})[engine.name] = contender.versions
                for phase in phases:
                    setting = _fastest(contender, phase, rows)
                    best.setdefault(engine.name, {})[phase] = setting
        except NotInstalledError as e:
            report["not_installed"][engine.name] = str(e)
            print(f"  {engine.name:12} not installed ({e})", flush=True)
        except ContenderError as e:
            _fail(report, engine.name, e)
    return best, rows


def _fail(report: dict[str, Any], name: str, error: Exception) -> None:
    report["failed"][name] = str(error)
    print(f"  {name:12} failed: {error}", flush=True)


def _fastest(contender: Contender, phase: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Vary one setting after the other, the others at their best so far."""
    axes = contender.axes[phase]
    best = {name: values[0] for name, values in axes.items()}
    tried: dict[tuple[Any, ...], float] = {}
    for name, values in axes.items():
        for value in values:
            setting = {**best, name: value}
            if tuple(setting.values()) in tried:
                continue
            built = contender.build(phase, setting)
            # The first turn fills caches and takes memory from the system: the better one counts.
            turn = min(contender.turn(), contender.turn(), key=lambda t: t.seconds)
            tried[tuple(setting.values())] = turn.tokens / turn.seconds
            row = {
                "engine": contender.engine.name,
                "phase": phase,
                "setting": setting,
                "build_seconds": built,
                "seconds": turn.seconds,
                "tokens_per_second": turn.tokens / turn.seconds,
            }
            rows.append(row)
            print(reporting.sweep_row(row), flush=True)
        best = dict(zip(best, max(tried, key=tried.__getitem__), strict=True))
    return best


def rounds(
    phase: str,
    chosen: dict[str, dict[str, Any]],
    work: Workload,
    count: int,
    report: dict[str, Any],
) -> dict[str, Any]:
    """Let the contenders take turns; return by name what each did.

    The round before the first is not counted: caches fill, and all begin at the same weights, so
    that its losses and outputs can be compared.
    """
    results: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for engine in ENGINES:
            if engine.name not in chosen or engine.name in report["failed"]:
                continue
            setting = chosen[engine.name]
            try:
                contender = stack.enter_context(Contender(engine, work))
                built = contender.build(phase, setting)
                results[engine.name] = {
                    "setting": setting,
                    "start_seconds": contender.start_seconds,
                    "build_seconds": built,
                    "first": contender.turn(),
                    "turns": [],
                }
                contenders[engine.name] = contender
            except ContenderError as e:
                results.pop(engine.name, None)
                _fail(report, engine.name, e)
        for number in range(1, count + 1):
            for name, contender in contenders.items():
                results[name]["turns"].append(contender.turn())
            speeds = (
                f"{name} {turn.tokens / turn.seconds:.0f}"
                for name, turn in ((n, results[n]["turns"][-1]) for n in contenders)
            )
            print(f"  {phase} round {number} of {count}, tokens/s: {', '.join(speeds)}", flush=True)
        for name, contender in contenders.items():
            results[name]["peak_bytes"] = contender.peak_memory()
    return _summary(results)


def _summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Turn measurements into speeds, their spread, and ratios of the first engine to the others."""
    reference = ENGINES[0].name
    summary: dict[str, Any] = {}
    for name, result in results.items():
        turns: list[Turn] = result.pop("turns")
        first: Turn = result.pop("first")
        speeds = [turn.tokens / turn.seconds for turn in turns]
        summary[name] = {
            **result,
            "tokens": turns[0].tokens,
            "updates": turns[0].updates,
            "seconds": [turn.seconds for turn in turns],
            "tokens_per_second": speeds,
            "median_tokens_per_second": reporting.median(speeds),
            "first_loss": first.loss,
            "outputs": first.outputs,
        }
    if reference not in summary:
        return summary
    ours = summary[reference]
    for name, theirs in summary.items():
        pairs = zip(ours["tokens_per_second"], theirs["tokens_per_second"], strict=True)
        theirs["ratios"] = [a / b for a, b in pairs]
        if name != reference and theirs["outputs"]:
            same = zip(ours["outputs"], theirs["outputs"], strict=True)
            theirs["same_outputs"] = sum(a == b for a, b in same)
    for theirs in summary.values():
        theirs.pop("outputs")
    return summary


if __name__ == "__main__":
    sys.exit(main())
