"""50,000 predictions: how long the page takes to load and to filter, in a real Chromium."""

import pytest
import reproduction_folder

from t5distill.__main__ import main

PREDICTIONS = 50_000
LOAD_S, FILTER_MS = 3.0, 200.0
ARMS = ({"name": "answer", "label": "answers", "role": "answer_only", "style": "answer"},
        {"name": "cot", "label": "chains", "role": "distilled", "style": "cot"})  # fmt: skip

# From the change of a field to the next frame, in which the list has been drawn again.
TIMED = """async ([id, value]) => {
  const field = document.querySelector(id), begin = performance.now();
  field.value = value;
  field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input",
                                { bubbles: true }));
  const filtered = performance.now() - begin;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return [filtered, performance.now() - begin];
}"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "run"
    problems = PREDICTIONS // (2 * 5 * 5) - 20
    reproduction_folder.Folder(
        problems=problems, held_out=20, train=50, seeds=(0, 1, 2, 3, 4), samples=5, arms=ARMS,
        ensemble=False, thinking=50,
    ).write(folder)  # fmt: skip
    assert main(["report", str(folder)]) == 0
    return folder / "report.html"


@pytest.mark.soak
def test_fifty_thousand_predictions_load_and_filter_quickly(large, chromium, capsys):
    # Measured apart from `read`, whose listeners take time of their own.
    page = chromium.new_page()
    page.goto(large.as_uri())
    page.evaluate("document.querySelector('#predictions').scrollIntoView()")
    page.wait_for_selector("body[data-ready]")
    ready = page.evaluate(
        "Math.max(performance.now(), performance.getEntriesByType('navigation')[0].duration)"
    )
    drawn = page.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    )
    assert f"of {PREDICTIONS:,} predictions" in page.inner_text("#count")
    times = {}
    for field, value in (
        ("#search", "flowers"), ("#search", "the ANSWER is 12"), ("#search", "zzz nowhere"),
        ("#search", ""), ("[data-filter=outcome] select", "1"), ("[data-filter=arm] select", "1"),
        ("[data-filter=seed] select", "3"),
    ):  # fmt: skip
        times[f"{field} {value!r}"] = page.evaluate(TIMED, [field, value])
    heap = page.evaluate("performance.memory?.usedJSHeapSize ?? 0") / 2**20
    page.close()
    with capsys.disabled():
        size = large.stat().st_size / 2**20
        print(f"\n{PREDICTIONS:,} predictions: {size:.1f} MiB, heap {heap:.0f} MiB")
        print(f"  first paint {drawn:.0f} ms, browser ready {ready:.0f} ms after navigation")
        for name, (filtered, painted) in times.items():
            print(f"  {name:<40} filtered {filtered:.0f} ms, drawn {painted:.0f} ms")
    assert ready < 1000 * LOAD_S
    assert max(painted for _, painted in times.values()) < FILTER_MS
