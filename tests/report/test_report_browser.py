"""The page in a real Chromium: it draws, filters, answers keys, and nothing of the data runs."""

import csv
import functools
import http.server
import json
import shutil
import threading

import pytest
import reproduction_folder

from t5distill.__main__ import main
from t5distill.records import Prediction, Problem, Verdict, read_jsonl
from t5distill.report import predictions, svg

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def test_charts_are_drawn_with_their_numbers(home, read):
    page = read(home / "report.html").page
    report = json.loads((home / "report.json").read_text())["runs"][0]
    rows = page.locator("#run0 > figure").first.locator(".rows li")
    mine = [row for row in report["accuracy"] if row["benchmark"] == "embedded"]
    assert rows.count() == len(mine) + 1  # the teacher
    full = page.locator("#run0 > figure").first.locator("svg").first.bounding_box()["width"]
    for i, row in enumerate(mine):
        assert f"{100 * row['accuracy']:.1f} %" in rows.nth(i).inner_text()
        bar = rows.nth(i).locator("rect.bar").bounding_box()
        assert bar["width"] / full == pytest.approx(row["accuracy"], abs=0.002)
        ends = rows.nth(i).locator(".whisker line").first.bounding_box()
        assert ends["width"] / full == pytest.approx(row["high"] - row["low"], abs=0.002)
    assert page.locator("svg.chart polyline").count() > 3
    assert page.inner_text(".answer") == report["answer"]["sentence"]
    for drawing in page.locator("svg[role=img]").all():
        assert drawing.get_attribute("aria-label")


def test_no_text_of_the_data_runs(home, read):
    page = read(home / "report.html").near_predictions()
    first = page.locator(".row").first.inner_text()
    assert reproduction_folder.HOSTILE[0] in first
    for i, planted in enumerate(reproduction_folder.HOSTILE):
        if i:
            page.locator("#list").press("j")
        shown = page.locator("#detail .text").first.evaluate("e => e.textContent")
        assert shown.startswith(planted)
    assert page.evaluate("window.planted") is None
    assert page.locator("#detail img, #detail script, #space script, main script").count() == 0
    assert page.locator("td b").count() == 0  # of the published source that holds <b>


INTRUDER = """async (url) => {
  const script = document.createElement("script");
  script.textContent = "window.planted = 9";
  const image = new Image();
  image.src = url;
  document.body.append(script, image);
  await fetch(url).catch(() => null);
  await fetch("data:text/plain,x").catch(() => null);
}"""


def test_what_gets_in_can_neither_run_nor_call_home(home, read):
    asked = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reader = read(home / "report.html")
        reader.page.evaluate(INTRUDER, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
    assert reader.page.evaluate("window.planted") is None
    refused = [said for said in reader.complaints if "Content Security Policy" in said]
    assert len(refused) >= 3 and asked == []
    # These were tried here on purpose.
    reader.complaints.clear()
    del reader.requests[1:]


def expected(home, **wanted):
    """Return how many lines of verdicts.jsonl below students fit."""
    count = 0
    for path in home.glob("*/*/seed_*/tests/*/verdicts.jsonl"):
        parts = path.relative_to(home).parts
        facts = {"arm": parts[1], "seed": parts[2][5:], "benchmark": parts[4]}
        for line in path.read_text().splitlines():
            facts["outcome"] = json.loads(line)["outcome"]
            count += all(facts[name] == value for name, value in wanted.items())
    return count


def test_filters_count_what_is_in_the_files(home, read):
    reader = read(home / "report.html")
    page = reader.near_predictions()
    assert reader.count() == expected(home)
    choose = {name: page.locator(f"[data-filter={name}] select") for name in
              ("outcome", "benchmark", "arm", "seed", "style")}  # fmt: skip

    def option(name, label):
        found = choose[name].locator("option").all_inner_texts()
        return next(text for text in found if text.rpartition(" (")[0] == label)

    choose["outcome"].select_option(label=option("outcome", "wrong"))
    assert reader.count() == expected(home, outcome="wrong")
    choose["arm"].select_option(label=option("arm", "chains of thought"))
    choose["seed"].select_option(label=option("seed", "1"))
    choose["benchmark"].select_option(label=option("benchmark", "embedded"))
    wanted = {"outcome": "wrong", "arm": "cot", "seed": "1", "benchmark": "embedded"}
    assert reader.count() == expected(home, **wanted) > 0
    choose["style"].select_option(label=option("style", "program"))
    assert reader.count() == 0 and page.locator(".row").count() == 0
    page.click("button[type=reset]")
    page.wait_for_function("!document.querySelector('#count').textContent.startsWith('0')")
    assert reader.count() == expected(home)


def test_search_ignores_case_and_reads_questions_and_texts(home, read):
    reader = read(home / "report.html")
    page = reader.near_predictions()
    questions, texts = {}, []
    for path in home.glob("data/*/test.jsonl"):
        questions |= {p.id: p.question.lower() for p in read_jsonl(Problem, path)}
    for path in home.glob("students/*/*/tests/*/predictions.jsonl"):
        texts += [(p.problem_id, p.text.lower()) for p in read_jsonl(Prediction, path)]
    # Ensembles have verdicts, and no texts of their own.
    for path in home.glob("ensembles/*/*/tests/*/verdicts.jsonl"):
        texts += [(v.problem_id, "") for v in read_jsonl(Verdict, path)]
    for wanted in ("LongWordWithout", "let us WORK step by step.", "HOW many", "[31M"):
        page.fill("#search", wanted)
        found = [
            wanted.lower() in questions[problem_id] or wanted.lower() in text
            for problem_id, text in texts
        ]
        assert 0 < reader.count() == sum(found) <= len(texts)


def test_it_is_read_with_the_keyboard_alone(home, read):
    reader = read(home / "report.html")
    page = reader.near_predictions()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("seats")
    some = reader.count()
    assert 1 < some < expected(home)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "list"
    for key in ("j", "ArrowDown", "k", "j"):
        page.keyboard.press(key)
    assert page.locator("[role=option][aria-selected=true]").get_attribute("aria-posinset") == "3"
    active = page.locator("#list").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    page.keyboard.press("End")
    selected = page.locator("[role=option][aria-selected=true]")
    assert selected.get_attribute("aria-posinset") == str(some)
    assert selected.is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert reader.count() == expected(home)


def test_only_what_is_seen_is_in_the_document(home, read):
    page = read(home / "report.html").near_predictions()
    assert page.locator(".row").count() < 40 < expected(home)
    page.locator("#list").evaluate("e => { e.scrollTop = e.scrollHeight; }")
    last = page.locator(f"[aria-posinset='{expected(home)}']")
    last.wait_for()
    assert page.locator(".row").count() < 40


def test_a_false_equation_is_marked_with_what_is_due(home, read):
    page = read(home / "report.html").near_predictions()
    page.fill("#search", "answer is")
    labels = page.locator("[data-filter=arm] option").all_inner_texts()
    page.locator("[data-filter=arm] select").select_option(
        label=next(text for text in labels if text.startswith("before training"))
    )
    page.locator("#list").focus()
    for _ in range(30):
        if page.locator("#detail mark").count():
            break
        page.keyboard.press("j")
    wrong = page.locator("#detail mark").first
    left, _, right = wrong.inner_text().partition("=")
    due = page.locator("#detail .due").first.inner_text()
    assert due.strip() == f"[calculator: {eval(left)}]" and eval(left) != int(right)


def test_a_phone_has_one_column_and_no_sideways_scrolling(home, read):
    page = read(home / "report.html", **PHONE).near_predictions()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    rows, detail = page.locator("#list").bounding_box(), page.locator("#detail").bounding_box()
    assert detail["y"] >= rows["y"] + rows["height"]
    page.locator(".row").nth(3).tap()
    page.wait_for_function("document.querySelector('#detail').getBoundingClientRect().top < 200")


def test_charts_need_no_script(home, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((home / "report.html").as_uri())
    assert page.locator("svg rect.bar").first.bounding_box()["width"] > 0
    assert page.locator("noscript").is_visible()
    context.close()


CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (c) => parse(c).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!c.startsWith("rgba(0, 0, 0, 0")) return c;
    }
  };
  const found = [];
  const texts = "p, a, h1, h2, h3, h4, th, td, li, span, mark, text, dt, dd, button, option";
  for (const e of document.querySelectorAll(texts)) {
    if (!e.textContent.trim() || e.closest("noscript, .skip")) continue;
    const style = getComputedStyle(e);
    const ink = e.tagName === "text" ? style.fill : style.color;
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push([e.tagName, e.className.baseVal ?? e.className, ratio]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(home, read, scheme):
    page = read(home / "report.html", color_scheme=scheme).near_predictions()
    assert page.evaluate(CONTRAST) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


ANCHORS = """[...document.querySelectorAll("a[href^='#']")]
  .filter((a) => !document.getElementById(a.hash.slice(1))).map((a) => a.hash)"""
TWICE = """[...document.querySelectorAll("[id]")].map((e) => e.id)
  .filter((id, i, all) => all.indexOf(id) < i)"""


def test_several_runs_on_one_page(home, tmp_path, read):
    other = shutil.copytree(home, tmp_path / "other")
    page_path = tmp_path / "both.html"
    assert main(["report", str(home), str(other), "--out", str(page_path)]) == 0
    reader = read(page_path)
    page = reader.near_predictions()
    assert page.evaluate(ANCHORS) == [] and page.evaluate(TWICE) == []
    assert reader.count() == 2 * expected(home)
    page.locator("[data-filter=run] select").select_option(index=1)
    assert reader.count() == expected(home)
    assert page.locator("article#run1 h2").inner_text() == "Chains of thought for a tiny student"


def test_what_is_left_out_is_said(home, tmp_path, read, monkeypatch):
    monkeypatch.setattr(predictions, "browser", functools.partial(predictions.browser, cap=100))
    assert main(["report", str(home), "--out", str(tmp_path / "few.html")]) == 0
    reader = read(tmp_path / "few.html")
    page = reader.near_predictions()
    assert reader.count() == 100
    left = expected(home) - 100
    assert f"{left:,} of {expected(home):,} are left out" in page.inner_text("#predictions")


def test_marks_of_lines_differ_without_colour():
    """Lines of other colours have other marks, dashes or both."""
    lines = [svg.Line(name=str(i), colour=i, points=[svg.Point(x=0, y=0)]) for i in (0, 1, 2, 3)]
    shapes = {drawing.split('d="')[1].split('"')[0] for drawing in
              (svg.chart([line], title="t", x_label="x") for line in lines)}  # fmt: skip
    assert len(shapes) == 4


def test_json_csv_and_page_say_the_same(home, read):
    page = read(home / "report.html").page
    report = json.loads((home / "report.json").read_text())["runs"][0]
    with open(home / "report.csv", newline="") as f:
        lines = list(csv.DictReader(f))
    table = page.locator("#run0-results table").first
    shown = [row.split("\t") for row in table.inner_text().splitlines() if row.count("\t") == 4]
    written = [line for line in lines if line["table"] == "accuracy" and not line["seed"]]
    assert len(shown) - 1 == len(written) == len(report["accuracy"])
    for cells, line, row in zip(shown[1:], written, report["accuracy"], strict=True):
        assert float(line["value"]) == row["accuracy"] and float(line["low"]) == row["low"]
        assert (line["arm"], line["benchmark"]) == (row["arm"], row["benchmark"])
        low, high = (100 * float(line[name]) for name in ("low", "high"))
        percent = f"{100 * float(line['value']):.1f} %"
        assert [c.strip() for c in cells[:3]] == [row["label"], percent, f"{low:.1f} to {high:.1f}"]
    differences = [line for line in lines if line["table"] == "difference"]
    assert [float(line["value"]) for line in differences] == [
        row["difference"] for row in report["differences"]
    ]
