"""The rules of gin files, and that every file of the project keeps them."""

import argparse
import pathlib

import pytest

from t5distill import gin_files
from t5distill.errors import UserError

GIN = pathlib.Path(__file__).parents[2] / "gin"
RUN = """
from __gin__ import dynamic_registration
import datetime

YEAR = %gin.REQUIRED  # when, e.g. 2024
DAY = 1  # of the month
NAMES = None
LEAP = False

datetime.date:
  year = %YEAR
  month = 2
  day = %DAY
"""


def load(tmp_path, *files, bindings=(), entry="datetime.date", search=""):
    names = []
    for i, text in enumerate(files):
        (tmp_path / f"{i}.gin").write_text(text)
        names.append(str(tmp_path / f"{i}.gin"))
    args = argparse.Namespace(gin_file=names, gin_bindings=list(bindings), gin_search_paths=search)
    files = gin_files.checked(args, run_file="gin/runs/train.gin", entry=entry)
    return gin_files.configured(files, args, entry=entry)


def test_the_command_line_wins_over_a_recipe_and_a_recipe_over_a_run_file(tmp_path):
    assert load(tmp_path, RUN, "YEAR = 2024\nDAY = 5")().day == 5
    # In whatever order they are given.
    assert load(tmp_path, "YEAR = 2024\nDAY = 5", RUN)().day == 5
    assert load(tmp_path, RUN, "YEAR = 2024\nDAY = 5", bindings=["DAY = 6"])().day == 6


@pytest.mark.parametrize(
    "recipe, message",
    [
        ("YEAR = 2024\nDAI = 5", r"1\.gin:2: no run file declares the macro DAI; did you mean DAY"),
        ("\nYEAR = %DAY", r"1\.gin:2: YEAR = %DAY: a model or recipe file holds macros with lit"),
        ("YEAR = @datetime.date()", "literals only"),
        ("NAMES = {'a': [%DAY]}", "literals only"),
        ("import os", "literals only"),
        ("include 'other.gin'", "literals only"),
        ("datetime.date.day = 3", "literals only"),
        ("datetime.date:\n  day = 3", "literals only"),
        ("YEAR = ", r"1\.gin:"),
        ("YEAR 2024", r"1\.gin:"),
        ("LEAP = 'False'", r"1\.gin:1: LEAP is 'False'; wanted True or False"),
        ("DAY = 2\nLEAP = 1", r"1\.gin:2: LEAP is 1; wanted True or False"),
    ],
)
def test_what_a_recipe_may_not_hold(tmp_path, recipe, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, RUN, recipe)


@pytest.mark.parametrize(
    "binding, message",
    [
        ("YAER=2024", r"--gin\.YAER=2024: no run file declares the macro YAER; did you mean YEAR"),
        ("datetime.date.day=3", "only macros are set on the command line"),
        ("NAMES=anna", r"--gin\.NAMES=\"'anna'\""),
        ("YEAR", r"wanted --gin\.NAME=VALUE"),
        ("YEAR=@x", "no literal"),
        ("LEAP=true", "--gin.LEAP=true: LEAP is 'true'; wanted True or False"),
        ("LEAP='False'", "LEAP is \"'False'\"; wanted True or False"),
    ],
)
def test_what_the_command_line_may_not_hold(tmp_path, binding, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, RUN, bindings=["YEAR=2024", binding])


def test_a_required_macro_is_named_with_an_example(tmp_path):
    with pytest.raises(UserError, match=r'YEAR is not set: when.*\n.*--gin\.YEAR="2024"'):
        load(tmp_path, RUN, "DAY = 2")


def test_a_run_file_is_needed_and_must_bind_the_entry(tmp_path):
    with pytest.raises(
        UserError, match=r"none of the gin files is a run file.*gin/runs/train\.gin"
    ):
        load(tmp_path, "DAY = 2")
    # Before anything that it requires: it is the wrong one.
    with pytest.raises(UserError, match=r"no gin file configures t5distill\.train\.train"):
        load(tmp_path, RUN, entry="t5distill.train.train")
    with pytest.raises(UserError, match=r"no gin file configures t5distill\.train\.train"):
        load(tmp_path, RUN, "YEAR = 1", entry="t5distill.train.train")


def test_files_are_searched_in_the_given_folders_and_in_the_project(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.gin").write_text("DAY = 9")
    monkeypatch.chdir(tmp_path)
    roots = gin_files.search_roots([str(tmp_path / "sub")])
    assert gin_files.find("mine.gin", roots) == tmp_path / "sub" / "mine.gin"
    for name in ("gin/models/tiny.gin", "models/tiny.gin"):
        assert gin_files.find(name, roots).samefile(GIN / "models" / "tiny.gin")
    with pytest.raises(
        UserError, match=r"tinny\.gin: no such gin file; did you mean gin/models/tiny"
    ):
        gin_files.find("gin/models/tinny.gin", roots)


@pytest.mark.parametrize(
    "path", sorted(GIN.glob("*/*.gin")), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_every_file_of_the_project_keeps_the_rules(path):
    file = gin_files.read(path)
    if path.parent.name in ("models", "recipes"):
        assert not file.is_run_file
        runs = [gin_files.read(p) for p in (GIN / "runs").glob("*.gin")]
        declared = {name for run in runs for name in run.macros}
        assert file.macros.keys() <= declared
    else:
        assert file.is_run_file
        # Every macro that the file binds is listed, before the first binding.
        text = path.read_text()
        bound = {w.strip("%") for w in text.split() if w.startswith("%") and "." not in w}
        assert bound <= file.macros.keys()
        first_binding = text.index(":\n", text.index("dynamic_registration"))
        assert all(text.index(f"\n{name} = ") < first_binding for name in file.macros)
    assert path.read_text().startswith("# "), "a header says what the file is for"
