"""The pages name each other, and every option that they show exists."""

import functools
import pathlib
import re

import pytest

from t5distill import __main__ as command_line

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"(?<![\w./-])t5distill ([a-z]\w*)((?:[^\n`|;#]|\\\n)*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


@functools.cache
def options(command):
    parser = command_line._parser(command)
    commands = next(a for a in parser._actions if a.dest == "command")
    return set(commands.choices[command]._option_string_actions)


def shown(text):
    """Yield the command and the options of every `t5distill ...` in a page."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for command, rest in _COMMAND.findall(joined):
        # Another command may follow in the same line.
        rest = re.split(r" -- | && |\bt5distill ", rest)[0]
        yield command, [o for o in _OPTION.findall(rest) if not o.startswith("--gin")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_option_that_is_shown_exists(page):
    for command, found in shown(page.read_text(encoding="utf-8")):
        if command in command_line.COMMANDS:
            unknown = set(found) - options(command)
            assert not unknown, f"{page.name}: t5distill {command}: {sorted(unknown)}"
        else:
            assert not found, f"{page.name}: t5distill {command} {' '.join(found)}: no command"


def test_the_check_sees_commands():
    text = "a `t5distill score --style x` b\n  t5distill train --gin_file=f \\\n  --wrong 3 | x --n"
    assert list(shown(text)) == [("score", ["--style"]), ("train", ["--wrong"])]
    assert "--style" in options("score") and "--wrong" not in options("train")


def test_the_readme_names_every_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in PAGES if p.parent != ROOT and f"(docs/{p.name})" not in readme]
    assert missing == []
