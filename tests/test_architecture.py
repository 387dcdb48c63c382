"""The shape of the project: imports in one direction, light doors, small files, honest names."""

import ast
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "t5distill"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room imports from rooms of lower rank and from itself. What is not named is a launcher: last.
RANKS = {
    "errors": 0,
    "quiet": 0,
    "places": 1,
    "records": 2,
    "problems": 3,
    "formats": 4,
    "verify": 5,
    "teacher": 6,
    "curate": 7,
    "data": 8,
    "tasks": 9,
    "api": 9,
    "evaluate": 10,
    "report": 11,
}
LAST = 12
STUDENT_MAY_IMPORT = (
    "t5distill.errors",
    "t5distill.places",
    "t5distill.records",
    "t5distill.formats.codec",
    "t5distill.formats.quantised",
    "t5distill.formats.vocabulary",
    "t5distill.verify.calculator",
    "t5distill.student",
)
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "base", "manager"}
HEAVY = {"jax", "flax", "optax", "orbax", "numpy", "tensorflow", "seqio", "clu", "sentencepiece"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Yield (module, line) of every import of this package, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (ROOT / full.replace(".", "/")).with_suffix(".py").exists()
                is_package = (ROOT / full.replace(".", "/")).is_dir()
                yield (full if is_module or is_package else node.module), node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_in_one_direction(path):
    here = room(module_name(path))
    for module, line in imports(path):
        if module.split(".")[0] != "t5distill" or module == "t5distill":
            continue
        there = room(module)
        if there == here:
            continue
        where = f"{path}:{line}: {here} imports {module}"
        if here == "student":
            assert module.startswith(STUDENT_MAY_IMPORT), where
        elif there == "student":
            assert RANKS.get(here, LAST) >= RANKS["api"], where
        else:
            rank = RANKS.get(here, LAST)
            assert RANKS.get(there, LAST) < rank or rank == LAST, where


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_short_and_named_for_what_they_do(path):
    assert path.stem not in FORBIDDEN_NAMES
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 400, "a file of 400 lines or more"
    assert "/work/" not in text, "the path of somebody's machine"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 60, f"{path}:{node.lineno}: {node.name} has {length} lines"


def modules_after(code):
    """Return what is in sys.modules after running `code` in a fresh interpreter."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_a_student_needs_neither_tensorflow_nor_seqio():
    names = [module_name(p) for p in (PACKAGE / "student").glob("*.py")]
    loaded = modules_after("\n".join(f"import {n}" for n in (*names, "t5distill.api")))
    assert not loaded & {"tensorflow", "seqio", "clu", "tensorflow_datasets"}


def test_help_loads_nothing_heavy():
    loaded = modules_after(
        "from t5distill import __main__ as m\nfor name in m.COMMANDS: m._parser(name)"
    )
    assert not loaded & HEAVY
