"""The command line: `t5distill COMMAND ...` or `python -m t5distill COMMAND ...`.

A command is a module with a one-line `HELP`, an `EXAMPLE`, `add_arguments(parser)` and
`run(args) -> int | None`. Nothing heavy is imported until `run`, so that help answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

from t5distill import __version__, places
from t5distill.errors import UserError

COMMANDS = {
    "quickstart": ("t5distill.quickstart", "the whole corridor on embedded problems, in minutes"),
    "reproduce": (
        "t5distill.reproduce.command",
        "all stages of a recipe, from problems to a report",
    ),
    "prepare": ("t5distill.problems.prepare", "official benchmark files to problems"),
    "generate": ("t5distill.teacher.command", "ask a teacher for chains, paid for once"),
    "ledger": ("t5distill.teacher.ledger_command", "what a ledger holds; export, import"),
    "curate": ("t5distill.curate.command", "verify chains, write a training set"),
    "capture": ("t5distill.capture", "what a white-box teacher would have written, beside chains"),
    "train": ("t5distill.train", "fine-tune a student (gin)"),
    "infer": ("t5distill.infer", "decode predictions for a split (gin)"),
    "eval": ("t5distill.eval", "decode and score a split (gin)"),
    "score": ("t5distill.evaluate.score", "judge predictions against problems"),
    "ensemble": ("t5distill.evaluate.ensemble", "one answer from several styles or samples"),
    "report": ("t5distill.report.command", "one HTML page of what runs found; JSON and CSV"),
    "export": ("t5distill.export.command", "a student for Hugging Face or T5X, with a model card"),
    "plan": ("t5distill.plan.command", "memory, time and cost on chips that need not be there"),
    "inspect": ("t5distill.data.inspect_batch", "print one packed batch as text with loss weights"),
}

# Commands that keep what they have done.
RESUMED = ("quickstart", "reproduce", "generate", "capture", "train", "infer", "eval")


# Modules of the user's own that every command imports first, e.g. with a style; by commas.
MODULES = "T5DISTILL_MODULES"


def _parser(command: str | None) -> argparse.ArgumentParser:
    """Build the parser; only the named command's module is imported."""
    parser = argparse.ArgumentParser(
        prog="t5distill",
        description="Distil the reasoning of a large teacher into a small T5 student.",
        epilog="Each command has its own --help with an example.",
    )
    parser.add_argument("--version", action="version", version=f"t5distill {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module_name, help_line) in COMMANDS.items():
        if name != command:
            commands.add_parser(name, help=help_line, add_help=False)
            continue
        module = importlib.import_module(module_name)
        sub = commands.add_parser(
            name,
            help=help_line,
            description=module.HELP,
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(sub)
    return parser


def with_bindings(argv: list[str]) -> list[str]:
    """Return a command line with T5X's `--gin.NAME=VALUE` as argparse can declare it."""
    # Any name may follow the dot.
    return [f"--gin_bindings={a[6:]}" if a.startswith("--gin.") else a for a in argv]


def _import_own() -> None:
    """Import the user's modules, those in the current folder too."""
    names = [name for name in os.environ.get(MODULES, "").split(",") if name]
    # A console script does not look there, `python -m` does.
    if names and "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as e:
            raise UserError(f"${MODULES} names {name!r}: {e}") from e


def parsed(argv: list[str]) -> tuple[Any, argparse.Namespace]:
    """Return a command's module and its arguments; exit where the command line is wrong."""
    argv = with_bindings(argv)
    command = next((a for a in argv if not a.startswith("-")), None)
    args = _parser(command).parse_args(argv)
    return importlib.import_module(COMMANDS[args.command][0]), args


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the process's exit code (2 for the user's mistake)."""
    module, args = parsed(sys.argv[1:] if argv is None else argv)
    try:
        _import_own()
        return module.run(args) or 0
    except UserError as e:
        print(f"t5distill {args.command}: {e}", file=sys.stderr)
        return 2
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as e:
        hint = "wanted a folder where results go, a file where one is read, and leave to use it"
        print(f"t5distill {args.command}: {e.filename}: {e.strerror}; {hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        more = "; the same command goes on from there" if args.command in RESUMED else ""
        print(f"\nt5distill {args.command}: stopped{more}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except Exception as e:
        told = places.said(e)
        if told is None:
            raise
        print(f"t5distill {args.command}: {told}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
