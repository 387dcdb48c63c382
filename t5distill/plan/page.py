"""A plan as text for a terminal, and the same figures for JSON."""

from __future__ import annotations

from typing import Any

from t5distill.plan import formula
from t5distill.plan.chips import CHIPS, GIB, Chip
from t5distill.plan.devices import Target, has_tpu_compiler
from t5distill.plan.estimate import Estimate, advice, estimate
from t5distill.plan.programs import Program
from t5distill.plan.wanted import Plan

UNITS = {"training": "an update", "decoding": "a token of each row"}


def head(plan: Plan, chip: Chip | None, target: Target) -> None:
    """Say what is planned, before the minutes that it takes."""
    config, settings = plan.config, plan.settings
    size = formula.parameters(config)["total"]
    print(
        f"{plan.model}: {size:,} parameters; {plan.data} x {plan.parallelism} (data x model) on "
        f"{target.name}{'' if chip is None else f', {chip.name}'}\n"
        f"  training: {plan.batch} rows of {plan.lengths.inputs} + {plan.lengths.targets} tokens, "
        f"{config.dtype}, remat {config.remat}, {settings.optimizer}, {settings.microbatches} "
        f"microbatch{'es' if settings.microbatches > 1 else ''}\n"
        f"  decoding: {plan.rows} rows"
    )
    if not target.exact:
        why = ""
        if chip is not None and chip.is_tpu and not has_tpu_compiler():
            why = "; `pip install '.[plan]'` has the TPU's own compiler"
        print(f"  memory is an estimate: compiled for simulated processors{why}")
    count = plan.data * plan.parallelism
    if chip is not None and not chip.is_tpu and count > chip.sizes[1]:
        print(
            f"  warning: {count} GPUs are several hosts; links between hosts are slower than said"
        )
    if config.num_heads % plan.parallelism:
        print(
            f"  warning: {config.num_heads} heads do not divide over {plan.parallelism} devices; "
            "attention is computed in more than one of them"
        )


def table(plan: Plan, chip: Chip | None, target: Target, made: list[Program]) -> dict[str, Any]:
    """Print what was found of each program; return it."""
    steps = [_step(plan, chip, target, program) for program in made]
    return {
        "model": plan.model,
        "parameters": formula.parameters(plan.config)["total"],
        "mesh": [plan.data, plan.parallelism],
        "devices": target.name,
        "chip": None if chip is None else chip.name,
        "memory_is_exact": target.exact,
        "batch": plan.batch,
        "lengths": plan.lengths._asdict(),
        "decode_rows": plan.rows,
        "dtype": plan.config.dtype,
        "remat": plan.config.remat,
        "steps": steps,
    }


def _step(plan: Plan, chip: Chip | None, target: Target, program: Program) -> dict[str, Any]:
    unit = UNITS[program.name]
    closed = _closed(plan, program)
    print(f"\n{program.name} (compiled in {program.seconds:.0f} s)")
    beside = f", {_size(program.beside)} beside" if program.beside else ""
    needs = "not known" if program.memory is None else _size(program.memory)
    parts = f"{_size(program.arguments)} given{beside}, the rest between"
    _line("memory of a device", f"{needs}: {parts}")
    share = f"{program.flops / closed:.3f} of the closed formula"
    _line("matrix FLOPs", f"{program.flops:.3g} for {unit}, on all devices; {share}")
    if program.transfers and program.transfers.total:
        kinds = ", ".join(
            f"{_size(size)} in {program.transfers.calls[kind]} {kind}"
            for kind, size in sorted(program.transfers.sent.items(), key=lambda kv: -kv[1])
        )
        _line("sent by a device", f"{_size(program.transfers.total)} ({kinds})")
    elif program.transfers:
        _line("sent by a device", "nothing")
    figures = {
        "name": program.name,
        "memory_bytes": program.memory,
        "kept_bytes": program.arguments + program.beside,
        "flops": program.flops,
        "closed_formula_flops": closed,
        "accessed_bytes": program.accessed,
        "sent_bytes": None if program.transfers is None else program.transfers.sent,
        "compile_s": program.seconds,
        "fits": None,
    }
    if chip is None:
        return {**figures, "chips": _chips(plan, target, program)}
    made = estimate(program, chip, target.mesh.size, exact=target.exact, price=plan.price)
    _verdict(plan, program, made)
    if not program.refused:
        _speed(plan, program, made, unit)
    return {**figures, "fits": made.fits, "estimate": made.figures()}


def _closed(plan: Plan, program: Program) -> float:
    if program.name == "training":
        return formula.training_flops(plan.config, plan.batch, *plan.lengths)
    keys, width = program.widths
    return formula.token_flops(plan.config, plan.rows, keys, width)


def _line(name: str, text: str) -> None:
    print(f"  {name:<22}{text}")


def _size(count: float) -> str:
    for unit, size in (("GiB", GIB), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1024:.1f} KiB"


def _verdict(plan: Plan, program: Program, made: Estimate) -> None:
    room = _size(made.memory)
    if made.fits and program.memory is not None:
        _line("fits", f"yes: {program.memory / made.memory:.0%} of {room}")
        return
    wanted = program.refused if program.memory is None else f"{_size(program.memory)} wanted"
    if made.fits is None:
        kept = _size(program.arguments + program.beside)
        wanted = f"perhaps: simulated processors want {_size(program.memory or 0)}, often several "
        wanted += f"times a GPU's; {kept} is kept in any case, of {room}. If it does not"
        _line("fits", f"{wanted}, try:")
    else:
        _line("fits", f"NO: {wanted}, {room} there. Try, in this order:")
    mesh = (plan.data, plan.parallelism)
    for line in advice(program, made.memory, plan.config, plan.settings, mesh):
        print(f"    - {line}")


def _speed(plan: Plan, program: Program, made: Estimate, unit: str) -> None:
    parts = (
        f"compute {_ms(made.compute)}, memory {_ms(made.traffic)}, links {_ms(made.links)}: "
        f"{_ms(made.overlapped)} to {_ms(made.without_overlap)}, as they overlap or do not"
    )
    _line("time by a roofline", parts)
    if program.name == "decoding":
        _line("", f"{plan.rows / made.overlapped:,.0f} tokens a second at best")
    if made.dollars is None:
        _line("cost", "no list price is known; give --price, dollars of a chip and hour")
        return
    text = f"about ${made.dollars:.3g} {unit}"
    if program.name == "training" and plan.steps:
        hours = made.overlapped * plan.steps / 3600
        text += f"; {plan.steps:,} updates: {hours:.1f} hours, ${made.dollars * plan.steps:,.2f}"
    if program.name == "decoding":
        text = f"about ${made.dollars / plan.rows * 1e6:.3g} for a million tokens"
    _line("cost", text + ("" if plan.price else " (list price of 2025)"))


def _ms(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _chips(plan: Plan, target: Target, program: Program) -> list[dict[str, Any]]:
    """Hold the estimate against every chip."""
    found = []
    for chip in CHIPS.values():
        made = estimate(program, chip, target.mesh.size, exact=False, price=plan.price)
        says = {True: "fits", None: "perhaps", False: "NO"}[made.fits]
        share = (program.memory or 0) / made.memory
        print(
            f"    {chip.name:<10}{says:<9}{share:>5.0%} of {_size(made.memory):<12}about "
            f"{_ms(made.overlapped)}"
        )
        found.append({"chip": chip.name, **made.figures()})
    return found
