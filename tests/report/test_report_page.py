"""The page as text: what is escaped, what it may fetch, what is installed with it."""

import base64
import csv
import gzip
import hashlib
import io
import json
import pathlib
import re
import subprocess
import sys

import pytest
import reproduction_folder

from t5distill.report import charts, markup, svg, tables

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def text(home):
    return (home / "report.html").read_text(encoding="utf-8")


def test_the_policy_allows_its_own_style_and_script_and_nothing_else(text):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for name, element in (("style-src", "style"), ("script-src", "script")):
        content = re.search(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert rules.keys() == {"default-src", "style-src", "script-src", "base-uri", "form-action"}


def test_nothing_points_outside(text):
    assert not re.search(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""", text)
    assert "url(" not in text and "@import" not in text
    assert set(re.findall(r'href="([^#][^"]*)"', text)) == {"./report.json", "./report.csv"}


def test_no_style_or_handler_stands_in_an_element(text):
    page = re.sub(r"<(style|script)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r"<[^>]*\s(?:style|on\w+)\s*=", page)


def test_texts_of_the_data_are_in_the_page_only_packed(text, home):
    assert "window.planted" not in text
    packed = re.search(r'<script id="columns" type="[^"]*">([^<]*)</script>', text)[1]
    columns = json.loads(gzip.decompress(base64.b64decode(packed)))
    texts = "\n".join(t for t in columns["rows"]["text"] if t)
    for planted in reproduction_folder.HOSTILE:
        assert planted in texts
    assert (
        len(columns["rows"]["text"])
        == json.loads((home / "report.json").read_text())["predictions"]
    )


def test_markup_escapes_whatever_is_not_markup():
    made = markup.tag("p", "<b>&\"'", markup.tag("i", "x"), title='"><script>')
    assert made == ('<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;&quot;&#x27;<i>x</i></p>')
    assert markup.escaped("a\udc80b") == "a?b"
    assert markup.tag("details", open=True, id=None) == "<details open></details>"


HOSTILE = '"><script>alert(1)</script>'


def test_every_name_in_a_plan_is_escaped(tmp_path):
    """Names reach captions, legends, labels for those who do not see, titles and tables."""
    from t5distill.__main__ import main

    arms = [
        {
            "name": "answer",
            "label": f"a{HOSTILE}",
            "role": f"r{HOSTILE}",
            "style": "answer",
            "x": 1,
        },
        {"name": "cot", "label": f"b{HOSTILE}", "role": "distilled", "style": "cot", "x": 2},
    ]
    made = reproduction_folder.Folder(
        problems=4, held_out=2, train=4, seeds=(0,), samples=2, arms=tuple(arms), hostile=False,
        ensemble=False,
    )  # fmt: skip
    folder = made.write(tmp_path / "<i>run")
    path = folder / "experiment.json"
    plan = json.loads(path.read_text())
    for name in ("title", "question", "source", "recipe"):
        plan[name] = f"{name}{HOSTILE}"
    plan["sweep"] = {"label": f"l{HOSTILE}", "unit": f"u{HOSTILE}", "log": True}
    plan["published"] = [dict.fromkeys(("label", "source", "benchmark"), HOSTILE)]
    path.write_text(json.dumps(plan))
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert "<script>alert" not in page and "<i>run" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 20


def test_csv_and_json_hold_the_same_numbers(home):
    report = json.loads((home / "report.json").read_text())["runs"][0]
    lines = list(csv.DictReader(io.StringIO((home / "report.csv").read_text())))
    assert list(lines[0]) == list(tables.COLUMNS)
    found = {}
    for line in lines:
        found.setdefault(line["table"], []).append(line)
    outcomes = [share for row in report["accuracy"] for share in row["outcomes"].values()]
    assert [float(line["value"]) for line in found["outcome"]] == outcomes
    points = [value for row in report["training"] for _, value in row["points"]]
    assert [float(line["value"]) for line in found["training"]] == points
    teacher = [(float(t["low"]), float(t["high"])) for t in found["teacher"]]
    assert teacher == [(row["low"], row["high"]) for row in report["teacher"]]
    published = {line["arm"]: line["note"].split(":")[0] for line in found["published"]}
    assert published["of nobody"] == "unverified"
    assert found.keys() == {"accuracy", "outcome", "rule", "teacher", "published", "difference",
                            "equations", "training", "cost"}  # fmt: skip


def test_a_name_in_csv_is_no_formula():
    report = dict.fromkeys(("accuracy", "published", "differences", "votes", "equations",
                            "training", "students"), ())  # fmt: skip
    row = {"set": "=1+1", "accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 2}
    written = tables.to_csv([{**report, "run": "@run", "sweep": None, "teacher": [row]}])
    line = next(csv.DictReader(io.StringIO(written)))
    assert (line["run"], line["arm"], line["value"]) == ("'@run", "'=1+1", "0.5")


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ((0, 0.05), [0, 0.01, 0.02, 0.03, 0.04, 0.05]),
        ((3, 997), [200, 400, 600, 800]),
        ((-0.3, 0.7), [-0.2, 0, 0.2, 0.4, 0.6]),
        ((5, 5), [5]),
    ],
)
def test_ticks_are_round(ends, expected):
    assert svg.ticks(*ends) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0"), (12_500, "12.5k"), (3e6, "3M"), (0.001, "0.001"), (-25, "−25")]
)
def test_numbers_on_axes_are_short(value, told):
    assert svg.short(value) == told


def test_a_chart_of_one_point_and_one_of_equal_heights():
    for points in ([svg.Point(x=1, y=0.5)], [svg.Point(x=i, y=2.0) for i in range(3)]):
        for log in (True, False):
            line = svg.Line(name="n", colour=0, points=points)
            drawn = svg.chart([line], title="t", x_label="x", share=False, log=log)
            assert "nan" not in drawn and "inf" not in drawn


def test_the_wheel_carries_the_page():
    code = (
        "import setuptools; from distutils.core import run_setup; "
        "d = run_setup('setup.py', stop_after='init'); c = d.get_command_obj('build_py'); "
        "c.ensure_finalized(); print([f for p, _, _, fs in c.data_files for f in fs "
        "if p == 't5distill.report'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"page.html", "page.css", "page.js"} <= set(eval(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["b_cot_t_temperature_0_7"], ["teacher, on"]),
        (["b_cot_t_s_4", "b_program_t_s_4"], ["teacher (cot), on", "teacher (program), on"]),
        (["b_cot_t", "b_cot_t_other"], ["teacher (t), on", "teacher (t other), on"]),
        (["b_cot_t", "b_cot_t_x", "b_y_t"], ["teacher (cot t), on", "teacher (cot t x), on"]),
    ],
)
def test_teachers_are_told_apart_by_what_differs(sets, told):
    rows = [{"set": name, "accuracy": 0.8, "low": 0.7, "high": 0.9} for name in sets]
    drawn = str(charts.accuracies([], {}, title="Accuracy", teachers=rows))
    assert all(f"<bdi>{label}" in drawn for label in told)
