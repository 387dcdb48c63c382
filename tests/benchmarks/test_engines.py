"""The benchmark runs from end to end at tiny size, with no other engine needed."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from t5distill.formats.standin import standin_vocabulary

ROOT = pathlib.Path(__file__).parents[2]


def bench(*arguments):
    environment = {k: v for k, v in os.environ.items() if k != "T5DISTILL_REAL_DATA"}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.engines", "--quick", *map(str, arguments)],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def official(tmp_path):
    """Files in GSM8K's form and a vocabulary."""
    for split, count in (("train", 12), ("test", 9)):
        with open(tmp_path / f"{split}.jsonl", "w", encoding="utf-8") as f:
            for i in range(1, count + 1):
                question = f"Tom sold {i} pencils in April and {i * 2} in May. How many in all?"
                answer = (
                    f"In total he sold {i}+{i * 2} = <<{i}+{i * 2}={i * 3}>>{i * 3}.\n#### {i * 3}"
                )
                f.write(json.dumps({"question": question, "answer": answer}) + "\n")
    return tmp_path, standin_vocabulary(tmp_path / "standin.model")


@pytest.mark.soak
def test_the_benchmark_measures_and_lists_who_is_missing(official, tmp_path):
    data, vocabulary = official
    out = tmp_path / "out.json"
    # Hugging Face takes half a minute to import; the run by hand includes it.
    done = bench(
        "--data", data, "--vocab", vocabulary, "--engines", "t5distill", "t5x", "--out", out
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    if not importlib.util.find_spec("t5x"):
        assert "t5x" in report["not_installed"]
        assert "t5x: not installed" in done.stdout
    for phase in ("training", "decoding"):
        ours = report[phase]["t5distill"]
        [speed], [seconds] = ours["tokens_per_second"], ours["seconds"]
        assert speed == pytest.approx(ours["tokens"] / seconds)
        assert ours["ratios"] == [1.0]
        assert ours["peak_bytes"] > 50e6
        tried = [row for row in report["sweep"] if row["engine"] == "t5distill"]
        assert {row["setting"]["dtype"] for row in tried if row["phase"] == phase} == {
            "float32",
            "bfloat16",
        }
    training = report["training"]["t5distill"]
    assert training["tokens"] == report["workload"]["target_tokens"]
    assert training["updates"] == 1
    if "t5x" in report["training"]:
        theirs = report["training"]["t5x"]
        assert theirs["first_loss"] == pytest.approx(training["first_loss"], rel=1e-2)


def test_missing_files_are_named(tmp_path):
    done = bench("--data", tmp_path, "--vocab", tmp_path / "none.model")
    assert done.returncode == 2
    assert str(tmp_path / "train.jsonl") in done.stderr
    assert "T5DISTILL_REAL_DATA" in done.stderr
    assert "Traceback" not in done.stderr
