"""The benchmark's results as text."""

from __future__ import annotations

import statistics
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from t5distill.errors import UserError
from t5distill.records import write_json

median = statistics.median


def measured(run: Callable[[Namespace], dict[str, Any]], args: Namespace) -> dict[str, Any] | None:
    """Run a benchmark and write what it returns to `--out`; None: it said why it could not run."""
    try:
        report = run(args)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return None
    if args.out:
        write_json(args.out, report)
        print(f"\nwritten to {args.out}")
    return report


def heading(report: dict[str, Any]) -> str:
    """Return what is worked on, where."""
    work, machine, network = report["workload"], report["machine"], report["workload"]["network"]
    rows = ", ".join(
        f"{count} rows of {lengths} with {work['packed_padding'][lengths]:.0%} padding in targets"
        for lengths, count in work["packed_rows"].items()
    )
    return (
        f"network: T5, width {network['emb_dim']}, {network['num_encoder_layers']} + "
        f"{network['num_decoder_layers']} layers, vocabulary {network['vocab_size']}, weights "
        f"{work['weights']}\n"
        f"training turn: {work['examples']} examples of GSM8K, {work['input_tokens']} input and "
        f"{work['target_tokens']} target tokens; packed: {rows}\n"
        f"decoding turn: {work['prompts']} questions, up to {work['max_new_tokens']} tokens each\n"
        f"machine: {machine['processor']}, {machine['cores']} cores, load "
        f"{machine['load_before'][0]:.1f}"
    )


def sweep_heading(max_tokens: int) -> str:
    """Return the line above the sweep."""
    return f"sweep, target tokens/s (decoding here up to {max_tokens} tokens):"


def sweep_row(row: dict[str, Any]) -> str:
    """Return one line of the sweep."""
    return (
        f"  {row['engine']:12} {row['phase']:9} {_setting(row['setting']):34} "
        f"{row['tokens_per_second']:8.0f}   ({row['seconds']:.1f} s; {row['build_seconds']:.0f} s "
        "to load and compile)"
    )


def tables(report: dict[str, Any]) -> str:
    """Return both phases as tables, with whoever is missing below."""
    lines = []
    for phase in ("training", "decoding"):
        if report.get(phase):
            lines += ["", *_table(phase, report[phase])]
    for word, notes in (
        ("not installed", report["not_installed"]),
        ("failed", report["failed"]),
    ):
        lines += [f"{name}: {word} ({why})" for name, why in notes.items()]
    machine = report["machine"]
    lines.append(
        f"load of the machine {machine['load_before'][0]:.1f} before, "
        f"{machine['load_after'][0]:.1f} after; {report['seconds']:.0f} s in all"
    )
    return "\n".join(lines)


def _table(phase: str, results: dict[str, Any]) -> list[str]:
    training = phase == "training"
    names = ("engine", "setting", "tokens/s", "min-max", "ours/it", "min-max", "turn s")
    last = ("step s", "first loss") if training else ("same",)
    rows = [(*names, *last, "peak GB", "build s")]
    for name, result in results.items():
        seconds = median(result["seconds"])
        ratios = result.get("ratios")
        rows.append(
            (
                name,
                _setting(result["setting"]),
                f"{result['median_tokens_per_second']:.0f}",
                _spread(result["tokens_per_second"], ".0f"),
                f"{median(ratios):.2f}" if ratios else "-",
                _spread(ratios, ".2f") if ratios else "-",
                f"{seconds:.2f}",
                *(
                    (f"{seconds / result['updates']:.2f}", f"{result['first_loss']:.4f}")
                    if training
                    else (str(result.get("same_outputs", "-")),)
                ),
                f"{result['peak_bytes'] / 1e9:.2f}",
                f"{result['build_seconds']:.1f}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    count = len(next(iter(results.values()))["seconds"])
    note = (
        "a turn is one pass over the examples"
        if training
        else "same: outputs equal to ours, token by token"
    )
    return [f"{phase}, median of {count} rounds ({note}):", *(line.rstrip() for line in lines)]


def _setting(setting: dict[str, Any]) -> str:
    return ", ".join(
        "x".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str)
        else f"batch {value}" if name == "batch_size" else str(value)
        for name, value in setting.items()
    )  # fmt: skip


def _spread(values: Sequence[float], spec: str) -> str:
    return f"{min(values):{spec}}-{max(values):{spec}}"
