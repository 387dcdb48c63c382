"""Write docs/macros.md: every macro that a run file declares, from the run files themselves.

    python scripts/macro_reference.py

A macro's meaning is the comment on its line, then the comment lines right above it; its place on
the page is the heading (`# --- the data`) that it stands under.
tests/launch/test_macro_reference.py fails where the page is not what this writes.
"""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import generated_page

from t5distill import gin_files

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs/macros.md"
# In the order in which their headings and macros appear on the page.
FILES = {
    "gin/runs/reproduce.gin": "reproduce",
    "gin/runs/train.gin": "train",
    "gin/runs/infer.gin": "infer",
    "gin/runs/eval.gin": "eval",
    "gin/t5x/train.gin": "T5X train",
    "gin/t5x/infer.gin": "T5X infer",
    "gin/t5x/eval.gin": "T5X eval",
}
_HEADING = "# --- "
_INTRODUCTION = (
    "A run file declares macros and binds them to code; model files and recipes set them; "
    "`--gin.NAME=VALUE` on the command line wins over both. A string needs its own quotes: "
    "`--gin.MODEL_DIR=\"'runs/base'\"`. A name that no run file declares is an error that names "
    "the nearest one. After each macro stands its default, or *required*; then what it means; then "
    "the run files that declare it: `train`, `infer`, `eval` and `reproduce` of t5distill "
    "(gin/runs), the same words after `T5X` for gin/t5x. Where run files differ in the default or "
    "the meaning, a macro stands here once for each."
)


class Macro(NamedTuple):
    """One macro as one run file declares it.

    Attributes:
      heading: the heading that it stands under.
      name: its name.
      default: its value as written, or `required`.
      meaning: its comments.
    """

    heading: str
    name: str
    default: str
    meaning: str


def macros(path: pathlib.Path) -> list[Macro]:
    """Return the macros that a run file declares, in its order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for name, (_, number, comment) in gin_files.read(path).macros.items():
        above = number - 2
        while above >= 0 and lines[above].startswith("# ") and _HEADING not in lines[above]:
            above -= 1
        more = " ".join(line.removeprefix("# ") for line in lines[above + 1 : number - 1])
        heading = next(
            (x.removeprefix(_HEADING) for x in lines[number - 1 :: -1] if x.startswith(_HEADING)),
            "",
        )
        value = lines[number - 1].partition("=")[2].partition("  #")[0].strip()
        default = "required" if value == "%gin.REQUIRED" else value
        meaning = f"{comment}. {more}" if comment and more else comment or more
        found.append(Macro(heading, name, default, meaning))
    return found


def page() -> str:
    """Return the text of docs/macros.md."""
    files_of: dict[Macro, list[str]] = {}
    for file, label in FILES.items():
        for macro in macros(ROOT / file):
            files_of.setdefault(macro, []).append(label)
    # A macro of several defaults stays in one place.
    headings: dict[str, dict[str, list[Macro]]] = {}
    for macro in files_of:
        headings.setdefault(macro.heading, {}).setdefault(macro.name, []).append(macro)
    lists = {
        f"{heading[:1].upper()}{heading[1:]}": [
            _item(macro, files_of[macro]) for each in by_name.values() for macro in each
        ]
        for heading, by_name in headings.items()
    }
    return generated_page.page(
        "Every gin macro",
        script="macro_reference.py",
        source="the run files in gin/",
        introduction=_INTRODUCTION,
        lists=lists,
    )


def _item(macro: Macro, files: list[str]) -> str:
    default = "*required*" if macro.default == "required" else f"`{macro.default}`"
    return generated_page.entry(
        f"`{macro.name}`, {default}: {macro.meaning.rstrip('.')}. ({', '.join(files)})"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
