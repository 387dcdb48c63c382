"""The report of a whole tiny reproduction of each paper, read in a real Chromium.

$T5DISTILL_REPRODUCTIONS is a folder somewhere below which the recipes were reproduced, as CI has
one; without it they are reproduced here, which takes minutes.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from test_report_browser import PHONE

from t5distill.__main__ import main

pytestmark = pytest.mark.soak
RECIPES = ("magister_gsm8k", "shridhar_gsm8k", "fu_2023_formats", "zhu_2024_etd")
WORK = "T5DISTILL_REPRODUCTIONS"
WIDE = """[...document.querySelectorAll("th, td")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"""
PLANTED = "<script>window.planted = 1</script><img src=x onerror='window.planted = 2'>"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder of finished reproductions."""
    if given := os.environ.get(WORK):
        return pathlib.Path(given).resolve()
    work = tmp_path_factory.mktemp("reproductions")
    few = ["--sizes", "200", "20", "24", "10", "--gin.TRAIN_STEPS=4", "--gin.WARMUP_STEPS=1"]
    # In a process of its own: the browser's event loop runs in this one.
    argv = ["reproduce", *RECIPES, "--tiny", "--workdir", str(work), *few]
    subprocess.run([sys.executable, "-m", "t5distill", *argv], check=True, timeout=1800)
    return work


@pytest.fixture(scope="module", params=RECIPES)
def copied(request, work, tmp_path_factory):
    """One recipe's folder, with a hostile text in every file of predictions, and its report."""
    [work] = [found.parents[1] for found in work.rglob(f"{request.param}/experiment.json")]
    copy = tmp_path_factory.mktemp(request.param) / "work"
    heavy = shutil.ignore_patterns("checkpoint_*", "tfds", "tensorboard", "ledger.db*")
    shutil.copytree(work, copy, ignore=heavy)
    for path in copy.glob("students/*/seed_*/tests/*/*/*-test.jsonl"):
        first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
        row = json.loads(first)
        row["text"] = PLANTED + row["text"]
        path.write_text(json.dumps(row) + "\n" + "".join(rest), encoding="utf-8")
    folder = copy / request.param
    for name in ("report.html", "report.json", "report.csv"):
        (folder / name).unlink()
    assert main(["report", str(folder)]) == 0
    return folder


def verdicts(folder):
    """Return arm, benchmark and outcome of everything that the reproduction judged."""
    experiment = json.loads((folder / "experiment.json").read_text())
    found = []
    for arm in experiment["arms"]:
        for results in arm["results"]:
            for benchmark in experiment["tests"]:
                lines = (folder / results / benchmark / "verdicts.jsonl").read_text().splitlines()
                found += [(arm["label"], benchmark, json.loads(x)["outcome"]) for x in lines]
    return found


def test_a_papers_report_is_drawn_and_filtered(copied, read):
    experiment = json.loads((copied / "experiment.json").read_text())
    report = json.loads((copied / "report.json").read_text())["runs"][0]
    reader = read(copied / "report.html")
    page = reader.page
    # The question, the answer in one sentence, one chart with a bar for each row.
    assert page.locator("#run0").inner_text().count(experiment["question"]) >= 1
    assert page.inner_text(".answer") == report["answer"]["sentence"]
    rows = page.locator("#run0 > figure").first.locator(".rows li")
    mine = [row for row in report["accuracy"] if row["benchmark"] == experiment["tests"][0]]
    assert rows.count() >= len(mine) == len(experiment["arms"])
    assert page.locator("svg.chart polyline").count() > 0
    # No text lies over the next column's.
    assert page.evaluate(WIDE) == []
    # Published figures, each with its source and whether anybody here has read it.
    shown = page.locator("#run0").inner_text()
    for row in experiment["published"]:
        assert row["source"] in shown
    assert "unverified" in shown or all(row["verified"] for row in experiment["published"])
    # Every prediction, by arm and by outcome.
    page = reader.near_predictions()
    found = verdicts(copied)
    assert reader.count() == len(found) > 0
    for place, name in ((0, "arm"), (1, "benchmark"), (2, "outcome")):
        choose = page.locator(f"[data-filter={name}] select")
        if not choose.is_visible():
            assert len({row[place] for row in found}) == 1
            continue
        for text in choose.locator("option").all_inner_texts()[1:]:
            label = text.rpartition(" (")[0]
            choose.select_option(label=text)
            wanted = sum(row[place].replace("_", " ") == label.replace("_", " ") for row in found)
            assert reader.count() == wanted > 0, (name, label)
        choose.select_option(index=0)
    assert reader.count() == len(found)


def test_a_planted_script_stays_text(copied, read):
    reader = read(copied / "report.html")
    page = reader.near_predictions()
    page.fill("#search", "window.planted = 1")
    assert reader.count() > 0
    page.locator("#list").focus()
    page.keyboard.press("j")
    assert PLANTED[:35] in page.locator("#detail").evaluate("e => e.textContent")
    assert page.evaluate("window.planted") is None
    assert page.locator("#detail script, #detail img, main script").count() == 0


def test_a_phone_shows_it_without_sideways_scrolling(copied, read):
    page = read(copied / "report.html", **PHONE).near_predictions()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
