"""Gin files and macros on the command line, checked before anything runs.

Three kinds of file meet in a run. A *run file* (gin/runs, gin/t5x) begins with gin's dynamic
registration, lists its macros at its top, each with a comment, and binds them to code. *Model* and
*recipe* files set macros to literals and hold nothing else, so that either engine can read them.

Gin itself takes a macro that nothing reads without a word. Here it is an error unless some run file
declares it: one that was given, or one that lies beside it or among the project's own (a recipe may
set TRAIN_STEPS although `infer` has no use for it).
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gin
from gin import config_parser

import t5distill
from t5distill import places
from t5distill.errors import UserError, suggest

_DYNAMIC = "__gin__.dynamic_registration"
_REQUIRED = "gin.REQUIRED"


@dataclasses.dataclass(frozen=True)
class _Reference:
    """A `%MACRO` or `@configurable` found in a value."""

    name: str


class _Delegate(config_parser.ParserDelegate):
    """Keeps references as they stand instead of looking them up."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Any:
        return _Reference("@" + scoped_configurable_name)

    def macro(self, scoped_macro_name: str) -> Any:
        return _Reference(scoped_macro_name)


@dataclasses.dataclass(frozen=True)
class GinFile:
    """What the check needs to know of one file.

    Attributes:
      path: where it lies.
      is_run_file: whether it uses dynamic registration.
      macros: name to (value, line number, comment) of each macro that it sets.
      configures: names of what it binds arguments of, as written.
      includes: the files that it includes.
    """

    path: pathlib.Path
    is_run_file: bool
    macros: dict[str, tuple[Any, int, str]]
    configures: set[str]
    includes: list[str]


def add_arguments(parser: argparse.ArgumentParser, *, run_file: str) -> None:
    """Declare the arguments that every gin command shares."""
    parser.add_argument(
        "--gin_file",
        action="append",
        default=[],
        metavar="FILE",
        help=f"{run_file}, a model file, a recipe; looked for here, in --gin_search_paths and in "
        "the installed package",
    )
    parser.add_argument(
        "--gin_search_paths",
        default="",
        metavar="DIR,...",
        help="further directories that --gin_file and include look in",
    )
    parser.add_argument(
        "--gin_bindings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a macro, e.g. --gin_bindings=\"MODEL_DIR='runs/base'\"; may also be written "
        "--gin.NAME=VALUE. Strings need their own quotes",
    )


def checked(args: argparse.Namespace, *, run_file: str, entry: str) -> list[GinFile]:
    """Read the files that the command line names and check everything in them and on it.

    Nothing is imported for it, so that a mistake is named at once.

    Args:
      args: of a parser that `add_arguments` has seen.
      run_file: the usual run file, for messages.
      entry: full name of the function that a run file must bind, e.g. `t5distill.train.train`.

    Raises:
      UserError: a file is missing or malformed, a macro is unknown, not a literal, or required and
        not set.
    """
    files = given(args)
    bound = any(f".{entry}".endswith(f".{name}") for f in files for name in f.configures)
    if not bound and any(f.is_run_file for f in files):
        raise UserError(f"no gin file configures {entry}; give --gin_file={run_file}")
    check(files, args.gin_bindings, run_file=run_file)
    return files


def given(args: argparse.Namespace) -> list[GinFile]:
    """Read the files that the command line names."""
    roots = search_roots(_folders(args))
    return [read(find(name, roots)) for name in args.gin_file]


def configured(
    files: Sequence[GinFile], args: argparse.Namespace, *, entry: str
) -> Callable[[], Any]:
    """Give checked files to gin and return the function to call.

    Run files are read first, in whatever order they were given, then the other files in theirs,
    then the command line: the later wins.

    Raises:
      UserError: gin finds something that it cannot read or import.
    """
    for root in search_roots(_folders(args)):
        gin.add_config_file_search_path(str(root))
    gin.clear_config()
    try:
        gin.parse_config_files_and_bindings(
            [str(f.path) for f in sorted(files, key=lambda f: not f.is_run_file)],
            list(args.gin_bindings),
            print_includes_and_imports=False,
        )
        function = gin.get_configurable(entry)
    except (ValueError, SyntaxError, ImportError, AttributeError, TypeError, OSError) as e:
        raise UserError(f"gin: {e}") from e

    def call() -> Any:
        try:
            return function()
        except UserError as e:
            # Gin appends where in the configuration the call stood; the message needs no such help.
            raise UserError(str(e).split("\n  In call to configurable")[0]) from e

    return call


def _folders(args: argparse.Namespace) -> list[str]:
    return [folder for folder in args.gin_search_paths.split(",") if folder]


def search_roots(extra: Iterable[str] = ()) -> list[pathlib.Path]:
    """Return the directories that gin files are looked for in, the first match winning."""
    package = pathlib.Path(t5distill.__file__).parent
    # An installed package holds gin/ inside it, a checkout beside it. Either may be left unsaid.
    places = [package, package / "gin", package.parent, package.parent / "gin"]
    return [pathlib.Path.cwd(), *map(pathlib.Path, extra), *places]


def find(name: str, roots: Sequence[pathlib.Path]) -> pathlib.Path:
    """Return the first file of that name below `roots`; raise UserError without one."""
    if places.is_remote(name):
        if not places.place(name).is_file():
            raise UserError(f"{name}: no such gin file")
        return places.place(name)
    for root in roots:
        if (root / name).is_file():
            return root / name
    known = sorted(
        str(path.relative_to(root.parent))
        for root in roots
        if root.name == "gin"
        for path in root.glob("*/*.gin")
    )
    raise UserError(f"{name}: no such gin file; {suggest(name, known)}")


def read(path: pathlib.Path) -> GinFile:
    """Read one file's statements without acting on them.

    Raises:
      UserError: it is not gin, or is no run file and holds more than macros with literals.
    """
    try:
        text = path.read_text(encoding="utf-8")
        statements = list(config_parser.ConfigParser(text, _Delegate()))
    except (SyntaxError, ValueError) as e:
        line = getattr(e, "lineno", None) or "?"
        raise UserError(f"{path}:{line}: not gin: {e}") from e
    is_run_file = any(getattr(s, "module", None) == _DYNAMIC for s in statements)
    lines = text.splitlines()
    macros, configures, includes = {}, set(), []
    for statement in statements:
        number = statement.location.line_num
        if isinstance(statement, config_parser.IncludeStatement):
            includes.append(statement.filename)
        literal = False
        if isinstance(statement, config_parser.BindingStatement) and _is_macro(statement):
            comment = lines[number - 1].partition("#")[2].strip()
            macros[statement.selector] = (statement.value, number, comment)
            literal = _is_literal(statement.value)
        elif isinstance(statement, config_parser.BlockDeclaration | config_parser.BindingStatement):
            configures.add(statement.selector)
        if not is_run_file and not literal:
            raise UserError(
                f"{path}:{number}: {lines[number - 1].strip()}: a model or recipe file holds "
                "macros with literals only, NAME = VALUE, so that both engines can read it"
            )
    return GinFile(path, is_run_file, macros, configures, includes)


def _is_macro(statement: config_parser.BindingStatement) -> bool:
    bare = not statement.arg_name and not statement.scope
    return bare and statement.selector.isidentifier()


def _is_literal(value: Any) -> bool:
    if isinstance(value, _Reference):
        return False
    if isinstance(value, dict):
        return all(_is_literal(x) for pair in value.items() for x in pair)
    return not isinstance(value, list | tuple) or all(_is_literal(x) for x in value)


def check(files: Sequence[GinFile], bindings: Sequence[str], *, run_file: str) -> None:
    """Raise UserError where a macro is declared by no run file, or required and not set.

    Args:
      files: all files of a run, in any order.
      bindings: `NAME=VALUE` of the command line.
      run_file: the usual run file, for messages.
    """
    runs = [f for f in files if f.is_run_file]
    if not runs:
        raise UserError(f"none of the gin files is a run file; give --gin_file={run_file}")
    known = _declared(runs)
    settings = [f for f in files if not f.is_run_file]
    set_here: set[str] = set()
    for file in settings:
        for name, (value, number, _) in file.macros.items():
            if name not in known:
                raise UserError(
                    f"{file.path}:{number}: no run file declares the macro {name}; "
                    f"{suggest(name, known)}"
                )
            _check_kind(f"{file.path}:{number}", name, value, known[name])
        set_here |= file.macros.keys()
    set_here |= {_bound_name(binding, known) for binding in bindings}
    # A later run file may give a value to what an earlier one requires.
    values = {name: entry for f in runs for name, entry in f.macros.items()}
    for name, (value, _, comment) in values.items():
        if value == _Reference(_REQUIRED) and name not in set_here:
            raise UserError(f"{name} is not set: {comment}\nSet it with {_example(name, comment)}")


def _check_kind(place: str, name: str, value: Any, default: Any) -> None:
    """Raise UserError where a switch is set to what is neither True nor False.

    A text such as 'False' would count as yes.
    """
    if isinstance(default, bool) and not isinstance(value, bool):
        raise UserError(f"{place}: {name} is {value!r}; wanted True or False")


def _declared(runs: Sequence[GinFile]) -> dict[str, Any]:
    """Return every macro that a run file declares, given or beside a given one or our own.

    Each comes with its default.
    """
    own = [root / "runs" for root in search_roots() if root.name == "gin"]
    folders = [*(f.path.parent for f in runs), *own]
    beside = [read_quietly(p) for d in folders if d.is_dir() for p in sorted(d.glob("*.gin"))]
    declaring = [*runs, *(f for f in beside if f and f.is_run_file)]
    included = [
        read_quietly(find(name, [f.path.parent, *search_roots()]))
        for f in runs
        for name in f.includes
    ]
    files = [f for f in (*included, *reversed(declaring)) if f]
    return {name: entry[0] for f in files for name, entry in f.macros.items()}


def read_quietly(path: pathlib.Path) -> GinFile | None:
    """Read a file that was not asked for; None where it does not follow our rules."""
    try:
        return read(path)
    except UserError:
        return None


def _bound_name(binding: str, known: Mapping[str, Any]) -> str:
    """Check one `NAME=VALUE` of the command line and return its name."""
    name, equals, value = (part.strip() for part in binding.partition("="))
    said = f"--gin.{binding}"
    if not equals or not name:
        raise UserError(f"{said}: wanted --gin.NAME=VALUE")
    if not name.isidentifier():
        raise UserError(f"{said}: {name} is no macro; only macros are set on the command line")
    if name not in known:
        raise UserError(f"{said}: no run file declares the macro {name}; {suggest(name, known)}")
    if isinstance(known[name], bool):
        _check_kind(said, name, {"True": True, "False": False}.get(value, value), known[name])
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError) as e:
        raise UserError(
            f"{said}: {value} is no literal; a string needs its own quotes: "
            f"--gin.{name}=\"'{value.strip(chr(39) + chr(34))}'\""
        ) from e
    return name


def _example(name: str, comment: str) -> str:
    value = comment.rpartition("e.g. ")[2] if "e.g. " in comment else "..."
    return f'--gin.{name}="{value}"'
