"""Registration, sources, and what a task's examples hold."""

import importlib
import os
import subprocess
import sys

import pytest
import seqio

import tasks
from t5distill import data
from t5distill import tasks as package_tasks
from t5distill.errors import UserError
from t5distill.records import write_jsonl

LENGTHS = {"inputs": 64, "targets": 64}


def read(task, split, lengths=None):
    return list(data.read_examples(task, split=split, lengths=lengths))


def test_every_promised_task_is_registered():
    names = set(seqio.TaskRegistry.names())
    promised = (
        *("gsm8k", "svamp", "asdiv", "addsub", "multiarith", "singleeq", "singleop", "gsm_hard"),
        *("aqua", "strategyqa", "commonsenseqa", "coin_flip", "coin_flip_3", "coin_flip_4"),
        *("last_letter", "last_letter_3", "last_letter_4", "embedded", "embedded_held_out"),
        *("bbh_navigate", "bbh_word_sorting"),
    )
    for benchmark in promised:
        for style in ("answer", "cot"):
            assert {f"{benchmark}_{style}{suffix}" for suffix in ("", "__byt5", "__mt5")} <= names
    assert sum(name.startswith("bbh_") for name in package_tasks.BENCHMARKS) == 27
    assert {"embedded_cot_simulated", "embedded_answer_simulated", "svamp_cot_palm"} <= names
    assert {"gsm8k_cot_gold", "gsm8k_answer_gold"} <= names
    assert "magister_2022" in seqio.MixtureRegistry.names()
    for name in package_tasks.EVALUATION_ONLY:
        assert seqio.TaskRegistry.get(f"{name}_cot").splits == ("test",)


def test_importing_again_changes_nothing():
    before = list(seqio.TaskRegistry.names())
    importlib.reload(package_tasks)
    importlib.reload(tasks)
    assert list(seqio.TaskRegistry.names()) == before


def test_importing_tasks_touches_no_disk(tmp_path):
    environment = {
        **os.environ,
        "T5DISTILL_DATA_DIR": str(tmp_path / "none"),
        "T5DISTILL_T5_VOCAB": str(tmp_path / "none.model"),
    }
    code = "import tasks; import t5distill.tasks"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []


def test_names_resolve_by_vocabulary():
    assert data.resolve("gsm8k_cot", "t5") == "gsm8k_cot"
    assert data.resolve("gsm8k_cot", "byt5") == data.resolve("gsm8k_cot__byt5", "byt5")
    assert data.resolve("magister_2022", "mt5") == "magister_2022__mt5"
    with pytest.raises(UserError, match="did you mean gsm8k_cot"):
        data.resolve("gsm8k_cto", "t5")
    with pytest.raises(UserError, match="has vocabulary 'byt5'"):
        data.resolve("gsm8k_cot__byt5", "t5")
    with pytest.raises(UserError, match="VOCAB is 'bert'"):
        data.resolve("gsm8k_cot", "bert")


def test_registering_twice_is_fine_and_otherwise_refused():
    names = data.register("mine", benchmark="gsm8k", style="cot", teacher="gpt-4")
    assert names == ["mine", "mine__byt5", "mine__mt5"]
    assert data.register("mine", benchmark="gsm8k", style="cot", teacher="gpt-4") == names
    with pytest.raises(UserError, match="registered already"):
        data.register("mine", benchmark="svamp", style="cot")
    with pytest.raises(UserError, match="as a mixture"):
        data.register("magister_2022", benchmark="svamp", style="cot")
    with pytest.raises(UserError, match="style is 'haiku'"):
        data.register(benchmark="gsm8k", style="haiku")
    with pytest.raises(UserError, match="splits are"):
        data.register(benchmark="gsm8k", style="cot", splits=["dev"])
    data.register_mixture("mix", ["gsm8k_cot", "gsm8k_answer"])
    data.register_mixture("mix", ["gsm8k_cot", "gsm8k_answer"])
    with pytest.raises(UserError, match="with other tasks"):
        data.register_mixture("mix", ["gsm8k_cot"])
    with pytest.raises(UserError, match="did you mean"):
        data.register_mixture("mix2", ["gsm8k_coot"])


def test_training_examples(make_problem):
    found = {e["id"]: e for e in read("gsm8k_cot", "train")}
    assert len(found) == 60
    one = make_problem(3)
    example = found[one.id]
    assert example["inputs_pretokenized"] == f"Q: {one.question}\nA: Let's think step by step."
    assert example["targets_pretokenized"] == "He has 3*4 = 12. The answer is 12."
    assert (example["answer"], example["kind"], example["choices"]) == ("12", "numeric", None)
    vocabulary = seqio.TaskRegistry.get("gsm8k_cot").output_features["inputs"].vocabulary
    assert vocabulary.decode(example["inputs"]) == example["inputs_pretokenized"]
    assert example["inputs"][-1] == example["targets"][-1] == 1


def test_examples_keep_their_id_for_t5x():
    dataset = seqio.TaskRegistry.get("gsm8k_answer").get_dataset(LENGTHS, "test", shuffle=False)
    example = next(dataset.as_numpy_iterator())
    assert example["id_pretokenized"] == example["id"] == b"gsm8k-test-0"


def test_long_targets_are_cut_without_an_end_of_sequence():
    lengths = {"inputs": 64, "targets": 5}
    example = next(data.read_examples("gsm8k_cot", split="train", lengths=lengths))
    assert len(example["targets"]) == 5 and 1 not in example["targets"]


@pytest.mark.parametrize("style", ["cot", "answer"])
def test_evaluation_splits_are_complete_and_in_order(style):
    for split, count in (("validation", 12), ("test", 25)):
        found = read(f"gsm8k_{style}", split)
        assert [e["id"] for e in found] == [f"gsm8k-{split}-{i}" for i in range(count)]


def test_evaluation_keeps_problems_without_a_solution(tmp_path, monkeypatch, make_problem):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path))
    problems = [
        make_problem(i, split="test", solution=None if i % 2 else "So.", kind="choice", answer="B",
                     choices=["x", "", "été"])
        for i in range(6)
    ]  # fmt: skip
    write_jsonl(tmp_path / "gsm8k" / "test.jsonl", problems)
    found = read("gsm8k_cot", "test")
    assert len(found) == 6
    assert found[0]["choices"] == ["x", "", "été"] and found[0]["kind"] == "choice"
    assert found[1]["targets_pretokenized"] == "The answer is (B)."
    # In training a chain-of-thought student learns from problems with a solution only.
    write_jsonl(tmp_path / "gsm8k" / "train.jsonl", problems)
    assert len(read("gsm8k_cot", "train")) == 3 and len(read("gsm8k_answer", "train")) == 6


def test_a_rewritten_file_is_read_anew(tmp_path, monkeypatch, make_problem):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path))
    for count in (3, 5):
        write_jsonl(tmp_path / "gsm8k" / "test.jsonl", [make_problem(i) for i in range(count)])
        assert len(read("gsm8k_cot", "test")) == count


def test_a_missing_set_names_the_command_that_makes_it(tmp_path, monkeypatch, make_problem):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match="t5distill prepare gsm8k --raw"):
        read("gsm8k_cot", "train")
    with pytest.raises(UserError, match="`t5distill prepare coin_flip`"):
        read("coin_flip_4_cot", "test")
    with pytest.raises(UserError, match="t5distill curate"):
        read("svamp_cot_palm", "train")
    write_jsonl(tmp_path / "gsm8k" / "train.jsonl", [make_problem(1, solution=None)])
    with pytest.raises(UserError, match="none of its 1 problems has a solution"):
        read("gsm8k_cot", "train")
    (tmp_path / "gsm8k" / "test.jsonl").write_text('{"id": 3}\n')
    with pytest.raises(UserError, match=r"test\.jsonl:1"):
        read("gsm8k_cot", "test")
    (tmp_path / "gsm8k" / "test.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no problem"):
        read("gsm8k_cot", "test")


def test_a_mixture_is_proportional_to_example_counts():
    data.register_mixture("both", ["gsm8k_cot", "gsm8k_answer"])
    mixture = seqio.MixtureRegistry.get("both")
    assert [mixture.get_rate(task) for task in mixture.tasks] == [60, 60]
    batch = next(data.stream_batches("both", lengths=LENGTHS, batch_size=4))
    assert batch["encoder_input_tokens"].shape == (4, 64)
