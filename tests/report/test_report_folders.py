"""What lies in folders: finished, half finished, without a plan, and what is wrong with them."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
import reproduction_folder

from t5distill.__main__ import main
from t5distill.records import write_json
from t5distill.report import loose as loose_runs

SMALL = reproduction_folder.Folder(
    problems=8, held_out=4, train=8, seeds=(0,), hostile=False, ensemble=False,
    arms=reproduction_folder.ARMS[:3],
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return SMALL.write(tmp_path_factory.mktemp("small") / "run")


@pytest.fixture
def folder(finished, tmp_path):
    return pathlib.Path(shutil.copytree(finished, tmp_path / "run"))


def reported(*runs, out=None):
    """Return the content of the JSON that a report of some folders writes."""
    more = [] if out is None else ["--out", str(out)]
    assert main(["report", *map(str, runs), *more]) == 0
    page = out or runs[0] / "report.html"
    assert page.with_suffix(".csv").is_file()
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and text.rstrip().endswith("</html>")
    return json.loads(page.with_suffix(".json").read_text())


def test_a_finished_reproduction_lacks_nothing(folder):
    (run,) = reported(folder)["runs"]
    assert run["missing"] == []
    scores = json.loads((folder / "students/cot/seed_0/tests/embedded/scores.json").read_text())
    (row,) = [r for r in run["accuracy"] if (r["arm"], r["benchmark"]) == ("cot", "embedded")]
    for name in ("accuracy", "low", "high", "n", "strict_match", "calculator_after_decoding"):
        assert row[name] == pytest.approx(scores[name])
    assert row["outcomes"] == pytest.approx(scores["outcomes"])
    teacher = json.loads((folder / "data/chains/embedded_cot_simulated/curation.json").read_text())
    assert run["teacher"][0]["n"] == teacher["in"] and run["teacher"][0]["kept"] == teacher["kept"]


def test_a_reproduction_under_way_is_reported_with_what_it_lacks(folder, capsys):
    shutil.rmtree(folder / "students/untrained")
    student = folder / "students/cot/seed_0"
    (student / "card.json").unlink()
    (student / "metrics.jsonl").write_text('{"step": 10, "loss": 2.5}\n{"step": 20, "lo')
    (student / "tests/embedded/scores.json").unlink()
    (folder / "data/chains/embedded_cot_simulated/curation.json").unlink()
    (folder / "data/embedded_held_out/test.jsonl").unlink()
    (run,) = reported(folder)["runs"]
    assert run["answer"]["difference"] is None and "Not answered" in run["answer"]["sentence"]
    said = "\n".join(run["missing"])
    assert "before training, seed 0: not begun" in said
    assert "chains of thought, seed 0: not finished (step 10" in said
    assert "chains of thought, seed 0, embedded: not scored yet" in said
    assert "nothing is said of the teacher" in said
    assert "4 problems of embedded_held_out are not in" in said
    assert next(r for r in run["training"] if r["arm"] == "cot")["points"] == [[10, 2.5]]
    assert "missing: " in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    assert "things are missing" in page


def test_a_plan_and_nothing_else(folder, tmp_path):
    (tmp_path / "new").mkdir()
    shutil.copy(folder / "experiment.json", tmp_path / "new")
    (run,) = reported(tmp_path / "new")["runs"]
    assert run["accuracy"] == [] and len(run["missing"]) > 3


def test_a_student_without_predictions_or_with_some(folder):
    place = folder / "students/cot/seed_0/tests/embedded"
    lines = (place / "predictions.jsonl").read_text().splitlines(keepends=True)
    (place / "predictions.jsonl").write_text("".join(lines[:3]))
    assert reported(folder)["predictions"] == 3 * (8 + 4)
    (place / "predictions.jsonl").unlink()
    assert reported(folder)["predictions"] == 3 * (8 + 4)


@pytest.fixture
def loose(folder, tmp_path):
    """Folders of `score` as the quickstart leaves them: predictions in a folder beside."""
    home = tmp_path / "loose"
    for arm in ("answer", "cot"):
        for benchmark in ("embedded", "embedded_held_out"):
            place = folder / f"students/{arm}/seed_0/tests/{benchmark}"
            shutil.copytree(place, home / arm / benchmark)
            (home / arm / "test").mkdir(exist_ok=True)
            shutil.move(home / arm / benchmark / "predictions.jsonl",
                        home / arm / "test" / f"{benchmark}-test.jsonl")  # fmt: skip
    (home / "cot/metrics.jsonl").write_text('{"step": 5, "loss": 1.5}\n')
    shutil.copytree(folder / "data", home / "data")
    return home


def test_folders_of_score_are_compared_without_a_plan(loose):
    found = reported(loose)
    (run,) = found["runs"]
    assert run["missing"] == [] and run["benchmarks"] == ["embedded", "embedded_held_out"]
    names = [(row["arm"], row["benchmark"]) for row in run["accuracy"]]
    assert names == [(arm, b) for b in run["benchmarks"] for arm in ("answer", "cot")]
    pairs = [(row["arm"], row["against"], row["benchmark"]) for row in run["differences"]]
    assert pairs == [("cot", "answer", "embedded"), ("cot", "answer", "embedded_held_out")]
    assert {row["style"] for row in run["accuracy"]} == {"answer", "cot"}
    assert {row["arm"] for row in run["training"]} == {"cot"}


def test_scores_of_the_same_benchmark_are_of_several_students(loose):
    for name in ("verdicts.jsonl", "scores.json"):
        shutil.copy(loose / "cot/embedded" / name, loose / "cot")
    (run,) = reported(loose)["runs"]
    arms = [row["arm"] for row in run["accuracy"] if row["benchmark"] == "embedded"]
    assert sorted(arms) == ["answer", "cot", "cot/embedded"]


def test_one_folder_of_score_is_a_run_too(loose):
    (run,) = reported(loose / "cot/embedded")["runs"]
    assert [row["arm"] for row in run["accuracy"]] == ["embedded"]
    assert any("its problems were found neither" in said for said in run["missing"])


def test_predictions_that_several_files_may_be_are_not_guessed(loose):
    shutil.copy(loose / "cot/test/embedded-test.jsonl", loose / "cot/test/again.jsonl")
    (run,) = reported(loose)["runs"]
    assert any("cot/embedded: its predictions are not shown: 2 files" in m for m in run["missing"])


def test_problems_are_found_in_the_data_directory(loose, monkeypatch):
    shutil.move(loose / "data", loose.parent / "elsewhere")
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(loose.parent / "elsewhere"))
    assert reported(loose)["runs"][0]["missing"] == []


def test_several_runs_stand_side_by_side(folder, loose, tmp_path):
    again = shutil.copytree(folder, tmp_path / "other" / "run")
    found = reported(folder, again, loose, out=tmp_path / "all.html")
    assert [run["run"] for run in found["runs"]] == ["run (1)", "run (2)", "loose"]
    assert "3 runs side by side" in (tmp_path / "all.html").read_text()
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("report nowhere", "no such folder; wanted a reproduction"),
        ("report empty", "neither experiment.json nor scores.json"),
        ("report gs://bucket/run", "in a bucket; wanted a folder on this machine"),
        ("report run run", "given twice"),
        ("report run --out all.txt", "ends in .html"),
        ("report run --out folder.html", "a folder; wanted a file in it"),
    ],
)
def test_mistakes(folder, tmp_path, monkeypatch, capsys, command, message):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "folder.html"):
        (tmp_path / name).mkdir()
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": []}, "wanted a list of objects with a name"),
        ({"arms": [{"label": "x"}]}, "wanted a list of objects with a name"),
        ({"main": "cott"}, "main is 'cott', wanted one of untrained, answer, cot"),
        ({"seeds": "0"}, "seeds is '0', wanted a list"),
        ({"seeds": [True]}, "seeds holds True, wanted int"),
        ({"tests": [1]}, "tests holds 1, wanted str"),
        ({"arms": [{"name": "answer"}] * 2}, "arm 'answer' stands twice"),
        ({"published": [{"accuracy": 21.99}]}, "21.99, wanted a share from 0 to 1"),
        ({"tiny": "no"}, "tiny is 'no', wanted a bool"),
    ],
)
def test_a_plan_that_is_none(folder, capsys, change, message):
    path = folder / "experiment.json"
    write_json(path, {**json.loads(path.read_text()), **change})
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert message in error and str(path) in error


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("experiment.json", "{", "not JSON"),
        ("experiment.json", "[]", "found list, wanted a JSON object"),
        ("students/cot/seed_0/card.json", "nonsense", "not JSON"),
        ("students/cot/seed_0/tests/embedded/scores.json", "[1]", "wanted a JSON object"),
        ("students/cot/seed_0/tests/embedded/verdicts.jsonl", "{}\n", "outcome None"),
        ("students/cot/seed_0/tests/embedded/predictions.jsonl", "{}\n", "not a prediction"),
    ],
)
def test_a_broken_file_is_named(folder, capsys, file, content, message):
    (folder / file).write_text(content)
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert message in error and file in error
    assert not (folder / "report.html").exists()


ODD = [None, 3, "text", [], [1], {}, {"a": 1}, True]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_card_may_hold_anything(folder, odd):
    path = folder / "students/cot/seed_0/card.json"
    card = json.loads(path.read_text())
    write_json(path, dict.fromkeys(card, odd))
    assert reported(folder)["runs"][0]["answer"]["difference"] is not None


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_scores_and_curation_may_hold_anything(folder, odd):
    for path in (
        folder / "students/cot/seed_0/tests/embedded/scores.json",
        folder / "data/chains/embedded_cot_simulated/curation.json",
    ):
        found = json.loads(path.read_text())
        write_json(path, dict.fromkeys([*found, "vote_curve", "isolation"], odd))
    assert reported(folder)["runs"][0]["answer"]["difference"] is not None


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_plans_lesser_fields_may_hold_anything(folder, odd):
    path = folder / "experiment.json"
    plan = json.loads(path.read_text())
    plan |= {"sweep": odd, "published": [{"label": odd, "source": odd, "benchmark": odd}]}
    plan["arms"][0] |= {"label": odd, "x": odd, "style": odd, "role": odd}
    write_json(path, plan)
    reported(folder)


@pytest.mark.parametrize("name", ["experiment.json", "mine.csv"])
def test_no_file_of_another_kind_is_replaced(folder, capsys, name):
    (folder / "mine.csv").write_text("a,b")
    before = (folder / name).read_text()
    page = str((folder / name).with_suffix(".html"))
    assert main(["report", str(folder), "--out", page]) == 2
    assert "is no report's; wanted another --out" in capsys.readouterr().err
    assert (folder / name).read_text() == before
    reported(folder)
    reported(folder)  # its own are


def test_a_choice_that_saw_the_test_is_told(folder, capsys):
    path = folder / "students/cot/seed_0/card.json"
    card = json.loads(path.read_text())
    card["selection"] |= {"split": "test", "selected": "2026-05-01T23:00:00+00:00"}
    write_json(path, card)
    (run,) = reported(folder)["runs"]
    assert run["warnings"] == [
        "chains of thought, seed 0: its checkpoint was chosen on the test split",
        "chains of thought, seed 0: the test was read before its checkpoint was chosen",
    ]
    assert "warning: chains" in capsys.readouterr().out
    assert "2 things are to beware of" in (folder / "report.html").read_text()


def test_the_teachers_chains_for_a_problem_are_shown_with_it(folder):
    """A run may be tested on problems that the teacher was asked about: a training split."""
    place = folder / "data/chains/embedded_cot_simulated"
    problem = json.loads((folder / "data/embedded/test.jsonl").read_text().splitlines()[0])["id"]
    for name, meta in (("kept", {}), ("rejected", {"reason": "leak"})):
        lines = (place / f"{name}.jsonl").read_text().splitlines()
        chain = {"problem_id": problem, "style": "cot", "text": name, "teacher": "m", "meta": meta}
        (place / f"{name}.jsonl").write_text("\n".join([*lines, json.dumps(chain)]) + "\n")
    chains = loose_runs.read_run(str(folder)).chains
    assert {i: [(c.text, c.meta) for c in found] for i, found in chains.items()} == {
        problem: [("kept", {}), ("rejected", {"reason": "leak"})]
    }


def test_it_needs_no_jax_tensorflow_or_seqio(folder):
    code = (
        "import sys; from t5distill.__main__ import main; "
        f"assert main(['report', {str(folder)!r}]) == 0; "
        "print([m for m in ('jax', 'tensorflow', 'seqio', 'flax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
