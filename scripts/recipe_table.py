"""Write docs/recipe_table.md: every recipe with its question, its rows and what is published.

    python scripts/recipe_table.py

tests/reproduce/test_recipe_table.py fails where the page is not what this writes.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import generated_page

from t5distill.reproduce import command
from t5distill.reproduce.experiment import Experiment

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs/recipe_table.md"
# The beginning of a recipe's name says whose experiment it is.
PAPERS = {
    "magister_": "Magister et al. 2022, Teaching Small Language Models to Reason",
    "shridhar_": "Shridhar et al. 2022, Distilling Reasoning Capabilities into Smaller Models",
    "fu_2023_": "Fu et al. 2023, Specializing Smaller Language Models towards Multi-Step Reasoning",
    "zhu_2024_": "Zhu et al. 2024, equation of thought, ensembles of thoughts, key points",
    "ho_": "Ho et al. 2022, Large Language Models Are Reasoning Teachers",
    "hsieh_": "Hsieh et al. 2023, Distilling Step-by-Step",
    "svamp_palm_": "Chains that others published",
    "gsm8k_": "GSM8K without a teacher behind an API",
    "quickstart_": "The quickstart's students",
    "embedded_": "Every style and loss on embedded problems, with a tiny student",
}
_INTRODUCTION = (
    "What `t5distill reproduce RECIPE` asks; its model, its test problems and the rows that it "
    "compares (**MAIN** against *BASELINE*, the others beside them); what is published. A figure "
    "is *unverified* where nobody here has read it in the source that it names: reports say "
    "so too. Settings, hardware and the commands are in each recipe's header; docs/recipes.md says "
    "what a reproduction does."
)
_MOST_TESTS = 5


def page() -> str:
    """Return the text of docs/recipe_table.md.

    Raises:
      ValueError: a recipe's name begins as no paper's do.
    """
    found: dict[str, list[str]] = {prefix: [] for prefix in PAPERS}
    for path in sorted((ROOT / "gin/recipes").glob("*.gin")):
        prefix = next((p for p in PAPERS if path.stem.startswith(p)), None)
        if prefix is None:
            raise ValueError(f"{path}: wanted a name that begins with one of {', '.join(PAPERS)}")
        found[prefix].append(_item(path.stem))
    return generated_page.page(
        "Every recipe",
        script="recipe_table.py",
        source="gin/recipes",
        introduction=_INTRODUCTION,
        lists={PAPERS[prefix]: items for prefix, items in found.items()},
    )


def _item(name: str) -> str:
    """Return the entry of one recipe."""
    given = argparse.Namespace(gin_bindings=[], teacher=None, model=None, tiny=False)
    _, experiment = command.read(name, given)
    tests = _tests(experiment.test_benchmarks())
    lines = [generated_page.entry(f"`{name}`: {experiment.question}")]
    lines.append(
        generated_page.entry(f"{experiment.model} on {tests}: {_rows(experiment)}", "  - ")
    )
    if experiment.published:
        lines.append(generated_page.entry(f"published: {_published(experiment.published)}", "  - "))
    return "\n".join(lines)


def _tests(benchmarks: Sequence[str]) -> str:
    if len(benchmarks) <= _MOST_TESTS:
        return ", ".join(benchmarks)
    return f"{', '.join(benchmarks[:2])} and {len(benchmarks) - 2} more"


def _rows(experiment: Experiment) -> str:
    mark = {experiment.main: "**", experiment.baseline: "*"}
    rows = [row for arm in experiment.arms for row in arm.rows()]
    return "; ".join(f"{mark.get(row, '')}{label}{mark.get(row, '')}" for row, label, _ in rows)


def _published(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the published figures, those of one source and mark together."""
    by_source: dict[str, list[str]] = {}
    for row in rows:
        source = f"{row['source']}{'' if row['verified'] else '; unverified'}"
        figure = f"{row['label']} {100 * row['accuracy']:.4g} % of {row['benchmark']}"
        by_source.setdefault(source, []).append(figure)
    said = [f"{', '.join(figures)} ({source})" for source, figures in by_source.items()]
    return "; ".join(said)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
