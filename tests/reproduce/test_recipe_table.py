"""docs/recipe_table.md is what the recipes say."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import recipe_table  # noqa: E402


def test_the_page_is_current():
    written = recipe_table.PAGE.read_text(encoding="utf-8")
    assert written == recipe_table.page(), "run `python scripts/recipe_table.py`"


def test_every_recipe_is_there_once_and_unverified_figures_say_so():
    items = recipe_table.page().split("\n- ")[1:]
    names = sorted(p.stem for p in (ROOT / "gin/recipes").glob("*.gin"))
    assert sorted(item.split("`")[1] for item in items) == names
    recalled = [item for item in items if "recalled" in item]
    assert recalled and all("unverified" in item for item in recalled)
