"""What gin/t5x and the plug-in use of T5X, and what an installed T5X offers of it.

    make t5x-surface T5X_PATH=...

writes surface.json, which is checked where T5X is absent: every callable and parameter that is used
has to be in it.
"""

from __future__ import annotations

import ast
import collections
import importlib
import inspect
import json
import pathlib
import subprocess

from gin import config_parser

from t5distill import gin_files

ROOT = pathlib.Path(__file__).parents[2]
FILE = pathlib.Path(__file__).with_name("surface.json")
RUNS = ("train", "infer", "eval")
PLUG_IN = ("on_t5x.py", "t5x_model.py")
# A callable that takes any keyword.
ANY = "**"


def used() -> dict[str, set[str]]:
    """Return the parameters that are given, by the full name of each callable of T5X."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for run in RUNS:
        for name, parameter in _in_gin(run):
            found[name] |= {parameter} if parameter else set()
    for name, keywords in _in_plug_in():
        found[name] |= keywords
    return dict(found)


def _in_gin(run: str) -> list[tuple[str, str | None]]:
    text = (ROOT / f"gin/t5x/{run}.gin").read_text()
    modules, found = {}, []
    for s in config_parser.ConfigParser(text, gin_files._Delegate()):
        if isinstance(s, config_parser.ImportStatement):
            # The launcher itself is bound as __main__.
            module = f"t5x.{run}" if s.module == "__main__" else s.module
            modules[s.alias or s.module.split(".")[-1]] = module
    for line in text.splitlines():
        code = line.split("#")[0]
        for selector in _references(code):
            found.append((selector, None))
    for s in config_parser.ConfigParser(text, gin_files._Delegate()):
        if isinstance(s, config_parser.BindingStatement) and "." in s.selector:
            found.append((s.selector, s.arg_name))
    full = []
    for selector, parameter in found:
        module, _, rest = selector.partition(".")
        if modules.get(module, "").split(".")[0] == "t5x":
            full.append((f"{modules[module]}.{rest}", parameter))
    return full


def _references(code: str) -> list[str]:
    """Return `module.name` of every `@scope/module.name` in a line."""
    found = []
    for part in code.split("@")[1:]:
        name = part.split("(")[0].split(",")[0].split("]")[0].strip()
        found.append(name.rsplit("/", 1)[-1])
    return [name for name in found if "." in name]


def _in_plug_in() -> list[tuple[str, set[str]]]:
    return [found for name in PLUG_IN for found in _in_module(ROOT / "t5distill" / name)]


def _in_module(path: pathlib.Path) -> list[tuple[str, set[str]]]:
    tree = ast.parse(path.read_text())
    modules = {
        (name.asname or name.name): f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "t5x"
        for name in node.names
    }
    keywords: dict[int, set[str]] = {}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = {k.arg for k in node.keywords if k.arg}
            keywords[id(node.func)] = given
            # functools.partial(function, keyword=...)
            if ast.unparse(node.func) == "functools.partial":
                keywords[id(node.args[0])] = given
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            continue
        if node.value.id in modules:
            name = f"{modules[node.value.id]}.{node.attr}"
            found.append((name, keywords.get(id(node), set())))
    return found


def offered(name: str) -> list[str]:
    """Return the parameters of a callable of the installed T5X."""
    module, _, attribute = name.rpartition(".")
    signature = inspect.signature(getattr(importlib.import_module(module), attribute))
    kinds = {p.kind for p in signature.parameters.values()}
    names = [p.name for p in signature.parameters.values()]
    return [*names, ANY] if inspect.Parameter.VAR_KEYWORD in kinds else names


def main() -> None:
    """Write surface.json from the installed T5X."""
    import t5x

    home = pathlib.Path(t5x.__path__[0])
    commit = subprocess.run(
        ["git", "-C", str(home), "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    old = json.loads(FILE.read_text()) if FILE.exists() else {}
    surface = {
        "commit": commit or old.get("commit", "unknown"),
        "callables": {name: offered(name) for name in sorted(used())},
    }
    FILE.write_text(json.dumps(surface, indent=2) + "\n")
    print(f"{FILE}: {len(surface['callables'])} callables of T5X {surface['commit'][:7]}")


if __name__ == "__main__":
    main()
