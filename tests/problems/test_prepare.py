"""The command `prepare`: what it writes, what it refuses, what it leaves alone."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

from t5distill import __main__, records
from t5distill.problems import benchmarks, prepare, publishing, splitting
from t5distill.records import Problem


def run(*arguments):
    return __main__.main(["prepare", *map(str, arguments)])


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def gsm8k_folder(folder, train=40, test=10):
    jsonl(folder / "train.jsonl", [gsm8k_row(f"train {i}") for i in range(train)])
    jsonl(folder / "test.jsonl", [gsm8k_row(f"test {i}") for i in range(test)])
    return folder


def gsm8k_row(question, answer="so\n#### 3"):
    return {"question": f"How many {question}?", "answer": answer}


def mawps_file(path, count=50, repeated=5):
    rows = [{"input": f"How many {i} ?", "target": float(i)} for i in range(count - repeated)]
    jsonl(path, rows + rows[:repeated])
    return path


def load(folder):
    return {
        split: list(records.read_jsonl(Problem, folder / f"{split}.jsonl"))
        for split in records.SPLITS
        if (folder / f"{split}.jsonl").exists()
    }


def tree(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def sizes(folder):
    return {split: len(problems) for split, problems in load(folder).items()}


def test_official_splits_are_kept_and_validation_is_carved(tmp_path, capsys):
    raw = gsm8k_folder(tmp_path / "raw")
    assert run("gsm8k", "--raw", raw, "--out", tmp_path / "out") == 0
    made = load(tmp_path / "out" / "gsm8k")
    assert {k: len(v) for k, v in made.items()} == {"train": 36, "validation": 4, "test": 10}
    assert [p.id for p in made["test"]] == [f"gsm8k-test-{i}" for i in range(10)]
    assert all(p.split == split for split, group in made.items() for p in group)
    assert len({p.id for group in made.values() for p in group}) == 50
    output = capsys.readouterr().out
    assert "36" in output and "next:" in output


def test_the_manifest_says_what_was_read_and_written(tmp_path):
    raw = gsm8k_folder(tmp_path / "raw")
    run("gsm8k", "--raw", raw, "--out", tmp_path / "out", "--seed", 3)
    folder = tmp_path / "out" / "gsm8k"
    manifest = publishing.manifest(folder)
    assert manifest["seed"] == 3
    assert manifest["validation_fraction"] == 0.1
    for part in manifest["sources"]:
        digest = hashlib.sha256((raw / part["file"]).read_bytes()).hexdigest()
        assert part["sha256"] == digest
    for split, note in manifest["splits"].items():
        content = (folder / f"{split}.jsonl").read_bytes()
        assert note == {
            "count": content.count(b"\n"),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_set_without_official_splits_is_divided(tmp_path):
    path = mawps_file(tmp_path / "mawpsmultiarith.jsonl")
    run("multiarith", "--raw", path, "--out", tmp_path / "a")
    run("multiarith", "--raw", path, "--out", tmp_path / "b")
    run("multiarith", "--raw", path, "--out", tmp_path / "c", "--seed", 1)
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != tree(tmp_path / "c")
    made = load(tmp_path / "a" / "multiarith")
    assert {k: len(v) for k, v in made.items()} == {"train": 31, "validation": 4, "test": 15}
    identities = [{splitting.identity(p) for p in group} for group in made.values()]
    assert len(set.union(*identities)) == sum(map(len, identities)) == 45
    assert publishing.manifest(tmp_path / "a" / "multiarith")["duplicates_kept"] == 5


def test_folds_cover_everything_once(tmp_path):
    path = mawps_file(tmp_path / "mawpsaddsub.jsonl")
    tests = []
    for fold in range(5):
        out = tmp_path / str(fold)
        assert run("addsub", "--raw", path, "--folds", 5, "--fold", fold, "--out", out) == 0
        made = load(out / "addsub")
        assert sum(map(len, made.values())) == 50
        tests += [p.id for p in made["test"]]
        assert publishing.manifest(out / "addsub")["fold"] == fold
    assert sorted(tests) == sorted(f"addsub-{i}" for i in range(50))


def test_mawps_is_the_union_of_four(tmp_path):
    for name in ("addsub", "multiarith", "singleeq", "singleop"):
        mawps_file(tmp_path / "raw" / f"mawps{name}.jsonl")
    assert run("mawps", "--raw", tmp_path / "raw", "--out", tmp_path / "out") == 0
    made = load(tmp_path / "out" / "mawps")
    assert sum(map(len, made.values())) == 200
    # The four files are alike here: every question occurs four times, in one split.
    identities = [{splitting.identity(p) for p in group} for group in made.values()]
    assert len(set.union(*identities)) == sum(map(len, identities))


def test_bbh_is_test_only(tmp_path, capsys):
    for task in ("snarks", "navigate"):
        rows = [{"input": f"Is it {task}?\nOptions:\n(A) yes\n(B) no", "target": "(A)"}]
        if task == "navigate":
            rows = [{"input": "Back?\nOptions:\n- Yes\n- No", "target": "Yes"}]
        (tmp_path / f"{task}.json").write_text(json.dumps({"canary": "x", "examples": rows}))
    out = tmp_path / "out"
    assert run("bbh_snarks", "--raw", tmp_path, "--out", out) == 0
    assert sizes(out / "bbh_snarks") == {"test": 1}
    assert run("bbh_snarks", "--raw", tmp_path, "--out", out, "--validation-fraction", 0.5) == 2
    assert run("bbh_snarks", "--raw", tmp_path, "--out", out, "--folds", 2, "--fold", 0) == 2
    # Without all 27 files the family is not written at all.
    assert run("bbh", "--raw", tmp_path, "--out", out) == 2
    assert not (out / "bbh_navigate").exists()
    assert run("bbh", "--raw", tmp_path / "snarks.json", "--out", out) == 2
    assert run("bbh_snarks", "--raw", tmp_path / "navigate.json", "--out", out) == 2
    assert "needs the folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["embedded", "coin_flip", "last_letter"])
def test_generators_need_no_files(tmp_path, name):
    assert run(name, "--out", tmp_path, "--sizes", 30, 6, 8, 4) == 0
    assert sizes(tmp_path / name) == {"train": 30, "validation": 6, "test": 8}
    longer = [f"{name}_held_out"] if name == "embedded" else [f"{name}_3", f"{name}_4"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, *longer])
    for other in longer:
        assert sizes(tmp_path / other) == {"test": 4}
        assert load(tmp_path / other)["test"][0].benchmark == other
    assert run(name, "--out", tmp_path, "--raw", "x") == 2


def test_the_hash_seed_of_python_changes_nothing(tmp_path):
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-m", "t5distill", "prepare", "embedded", "--sizes", *"8234"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": str(pathlib.Path(__main__.__file__).parents[1]),
                "T5DISTILL_DATA_DIR": seed,
            },
        )
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


def test_the_default_place_is_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path / "data"))
    assert run("coin_flip", "--sizes", 2, 2, 2, 2) == 0
    assert (tmp_path / "data" / "coin_flip" / "train.jsonl").exists()


def test_official_overlap_is_refused_or_costs_train(tmp_path, capsys):
    raw = tmp_path / "raw"
    jsonl(raw / "train.jsonl", [gsm8k_row(i) for i in range(10)])
    jsonl(raw / "test.jsonl", [gsm8k_row("  3 "), gsm8k_row(77)])
    out = tmp_path / "out"
    assert run("gsm8k", "--raw", raw, "--out", out) == 2
    assert "gsm8k-train-3" in capsys.readouterr().err
    assert not out.exists()
    assert run("gsm8k", "--raw", raw, "--out", out, "--allow-overlap") == 0
    assert "1 training copies of held-out questions dropped" in capsys.readouterr().out
    made = load(out / "gsm8k")
    assert "gsm8k-train-3" not in {p.id for p in made["train"] + made["validation"]}
    assert len(made["test"]) == 2
    assert publishing.manifest(out / "gsm8k")["dropped_from_train"] == 1


def test_one_official_file_alone(tmp_path, capsys):
    raw = gsm8k_folder(tmp_path / "raw")
    assert run("gsm8k", "--raw", raw / "test.jsonl", "--out", tmp_path / "out") == 0
    assert sizes(tmp_path / "out" / "gsm8k") == {"test": 10}
    assert "no train split" in capsys.readouterr().out
    assert run("gsm8k", "--raw", raw / "train.jsonl", "--out", tmp_path / "out") == 2
    assert "does not provide test.jsonl" in capsys.readouterr().err


GOOD = '{"question": "Q?", "answer": "#### 1"}\n'
MALFORMED = [
    tuple(json.loads(line).values())
    for line in (pathlib.Path(__file__).parents[1] / "golden" / "malformed_benchmarks.jsonl")
    .read_text("utf-8")
    .splitlines()
]
# Too long for a table: nested deeper than any parser goes.
MALFORMED.append(("svamp", "SVAMP.json", "[" * 100000, "SVAMP.json"))


@pytest.mark.parametrize(("benchmark", "name", "content", "wanted"), MALFORMED)
def test_malformed_input_is_named_and_nothing_changes(
    tmp_path, capsys, benchmark, name, content, wanted
):
    out = tmp_path / "out"
    place = out / benchmark
    place.mkdir(parents=True)
    (place / "test.jsonl").write_text("what was there before\n")
    before = tree(tmp_path / "out")
    raw = tmp_path / "raw" / name
    raw.parent.mkdir()
    raw.write_text(content)
    assert run(benchmark, "--raw", raw, "--out", out) == 2
    message = capsys.readouterr().err
    assert wanted in message and "Traceback" not in message
    assert tree(out) == before
    assert [p.name for p in out.iterdir()] == [benchmark]


def test_bytes_that_are_no_utf8(tmp_path, capsys):
    raw = tmp_path / "test.jsonl"
    raw.write_bytes(GOOD.encode() + b'{"question": "\xff", "answer": "#### 1"}\n')
    assert run("gsm8k", "--raw", raw, "--out", tmp_path / "out") == 2
    assert "test.jsonl:2" in capsys.readouterr().err


def test_the_same_id_twice_is_refused(tmp_path, capsys):
    row = {"Body": "b.", "Equation": "1", "Answer": 1, "Type": "x", "ID": "chal-1"}
    (tmp_path / "SVAMP.json").write_text(
        json.dumps([{**row, "Question": f"q {i}?"} for i in range(9)])
    )
    assert run("svamp", "--raw", tmp_path, "--out", tmp_path / "out") == 2
    assert "svamp-chal-1 occurs twice" in capsys.readouterr().err


def test_files_of_the_users_own_stay(tmp_path):
    folder = tmp_path / "coin_flip"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "validation.jsonl").write_text("stale")
    assert run("coin_flip", "--sizes", 4, 0, 4, 4, "--out", tmp_path) == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "validation.jsonl").exists()
    assert sizes(folder) == {"train": 4, "test": 4}
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_failing_exchange_leaves_what_was_there(tmp_path, monkeypatch, capsys, fails_at):
    assert run("coin_flip", "--sizes", 4, 2, 4, 4, "--out", tmp_path) == 0
    (tmp_path / "coin_flip" / "notes.txt").write_text("mine")
    before = tree(tmp_path / "coin_flip")
    rename, calls = pathlib.Path.rename, []

    def failing(self, target):
        calls.append(target)
        if len(calls) == fails_at:
            raise OSError("disk is gone")
        return rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", failing)
    assert run("coin_flip", "--sizes", 6, 2, 4, 4, "--out", tmp_path) == 2
    assert "disk is gone" in capsys.readouterr().err
    if fails_at < 3:
        assert tree(tmp_path / "coin_flip") == before
    else:
        # The new set stands; the file of the user's own is still there, beside it.
        assert sizes(tmp_path / "coin_flip")["train"] == 6
        assert [p.read_text() for p in tmp_path.glob(".coin_flip.old.*/notes.txt")] == ["mine"]


def test_a_place_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert run("coin_flip", "--out", tmp_path / "file") == 2
    (tmp_path / "coin_flip").write_text("x")
    assert run("coin_flip", "--sizes", 2, 2, 2, 2, "--out", tmp_path) == 2
    assert (tmp_path / "coin_flip").read_text() == "x"
    assert "wanted a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["gsm8"], "did you mean gsm8k"),
        (["svamp"], "--raw is missing"),
        (["svamp", "--raw", "tfds"], "only gsm8k"),
        (["svamp", "--raw", "nowhere"], "no such file or folder"),
        (["addsub", "--raw", "{file}", "--folds", "5"], "go together"),
        (["addsub", "--raw", "{file}", "--folds", "5", "--fold", "5"], "0 <= I < K"),
        (["addsub", "--raw", "{file}", "--folds", "1", "--fold", "0"], "K >= 2"),
        (["addsub", "--raw", "{file}", "--test-fraction", "1"], "below 1"),
        (["addsub", "--raw", "{file}", "--validation-fraction", "-0.1"], "at least 0"),
        (["addsub", "--raw", "{file}", "--sizes", "1", "1", "1", "1"], "--sizes does not go"),
        (["coin_flip", "--sizes", "1", "1", "-1", "1"], "no negative number"),
        (["coin_flip", "--folds", "2", "--fold", "0"], "--folds does not go"),
    ],
)
def test_mistakes_in_the_arguments(tmp_path, capsys, arguments, wanted):
    file = mawps_file(tmp_path / "mawpsaddsub.jsonl")
    given = [a.format(file=file) for a in arguments]
    assert run(*given, "--out", tmp_path / "out") == 2
    assert wanted in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_gsm8k_through_tfds(tmp_path, monkeypatch):
    from t5distill.problems import gsm8k

    def read_tfds(split):
        for i in range(20):
            yield Problem(
                id=f"gsm8k-{split}-tfds-{i}",
                question=f"{split} {i}",
                answer="1",
                kind="numeric",
                benchmark="gsm8k",
                split=split,
            )

    monkeypatch.setattr(gsm8k, "read_tfds", read_tfds)
    assert run("gsm8k", "--raw", "tfds", "--out", tmp_path) == 0
    assert sizes(tmp_path / "gsm8k") == {"train": 18, "validation": 2, "test": 20}


def test_help_names_every_benchmark():
    for name in [*benchmarks.OFFICIAL, *benchmarks.FAMILIES, *benchmarks.GENERATED]:
        assert name in prepare.NAMES or name.startswith("bbh_")


def test_help_needs_no_heavy_import():
    code = (
        "import sys, t5distill.problems.prepare, t5distill.problems.benchmarks;"
        "print([m for m in ('numpy', 'jax', 'tensorflow', 'tensorflow_datasets', 'seqio')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
