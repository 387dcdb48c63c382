"""docs/macros.md is what the run files say, and they say something of every macro."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import macro_reference  # noqa: E402


def test_every_run_file_is_on_the_page():
    there = {
        str(p.relative_to(ROOT)) for d in ("runs", "t5x") for p in (ROOT / "gin" / d).iterdir()
    }
    assert there == set(macro_reference.FILES)


@pytest.mark.parametrize("file", macro_reference.FILES)
def test_every_macro_says_what_it_means(file):
    found = macro_reference.macros(ROOT / file)
    assert found
    assert [m.name for m in found if not m.meaning] == []
    assert [m.name for m in found if not m.heading] == []


def test_the_page_is_current():
    written = macro_reference.PAGE.read_text(encoding="utf-8")
    assert written == macro_reference.page(), "run `python scripts/macro_reference.py`"


def test_comments_above_and_beside_a_macro_are_its_meaning(tmp_path):
    path = tmp_path / "run.gin"
    path.write_text(
        "from __gin__ import dynamic_registration\n# --- the data\n"
        "A = 1e-3  # beside\n# above,\n# two lines\nB = %gin.REQUIRED\n"
        "# above\nC = 'x'  # beside\nD = 2\n"
    )
    a, b, c, d = macro_reference.macros(path)
    assert a == ("the data", "A", "1e-3", "beside")
    assert b == ("the data", "B", "required", "above, two lines")
    assert c == ("the data", "C", "'x'", "beside. above")
    assert d.meaning == ""
