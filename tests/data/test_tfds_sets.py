"""Chain sets on disk: written, replaced, read back."""

import json

import pytest
import seqio

from t5distill import data, records
from t5distill.curate import tfds_writer
from t5distill.errors import UserError

LENGTHS = {"inputs": 64, "targets": 64}


@pytest.fixture
def pairs(make_problem, make_chain):
    problems = [make_problem(i, benchmark="toy") for i in range(30)]
    return [(p, make_chain(p, sample=s)) for p in problems for s in range(2)]


def read(task):
    dataset = seqio.get_mixture_or_task(task).get_dataset(LENGTHS, "train", shuffle=False)
    return [example["targets_pretokenized"].decode() for example in dataset.as_numpy_iterator()]


def test_write_and_read(tmp_path, monkeypatch, pairs):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path))
    source = tmp_path / "kept.jsonl"
    source.write_text("{}\n")
    directory = data.write_tfds("toy_cot_robot", pairs, sources=[source])
    assert directory == tmp_path / "tfds" / "toy_cot_robot" / "1.0.0"
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["examples"] == {"train": 60} and manifest["problems"] == 30
    assert manifest["teachers"] == ["robot"] and manifest["shards"] == 1
    assert manifest["sources"][0]["file"] == "kept.jsonl"

    data.register(benchmark="toy", style="cot", teacher="robot", vocab="t5")
    data.register(benchmark="toy", style="answer", teacher="robot", vocab="t5")
    chains = read("toy_cot_robot")
    assert sorted(chains) == sorted(chain.text for _, chain in pairs)
    # The answer-only student sees each problem once.
    answers = read("toy_answer_robot")
    assert sorted(answers) == sorted(f"The answer is {p.answer}." for p, _ in pairs[::2])
    assert seqio.TaskRegistry.get("toy_answer_robot").num_input_examples("train") == 30

    # A set written again is read anew in the same process, and nothing else stays behind.
    data.write_tfds("toy_cot_robot", pairs[:10])
    assert len(read("toy_cot_robot")) == 10
    assert [path.name for path in (tmp_path / "tfds").iterdir()] == ["toy_cot_robot"]


def test_the_same_pairs_give_the_same_set(tmp_path, pairs):
    first = data.write_tfds("toy", pairs, root=tmp_path / "a")
    second = data.write_tfds("toy", pairs[::-1], root=tmp_path / "b")
    a, b = (json.loads((d / "manifest.json").read_text()) for d in (first, second))
    assert a == b
    assert sorted(p.name for p in first.iterdir()) == sorted(p.name for p in second.iterdir())


def test_hosts_share_out_the_shards(tmp_path, monkeypatch, pairs):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds_writer, "_EXAMPLES_PER_SHARD", 10)
    data.write_tfds("toy_cot_sharded", pairs)
    data.register(benchmark="toy", style="cot", teacher="sharded", vocab="t5")
    task = seqio.TaskRegistry.get("toy_cot_sharded")
    assert len(task.source.list_shards("train")) == 6
    seen = []
    for index in range(3):
        dataset = task.get_dataset(LENGTHS, "train", shard_info=seqio.ShardInfo(index, 3), seed=1)
        seen.append([e["targets_pretokenized"] for e in dataset.as_numpy_iterator()])
    assert [len(part) for part in seen] == [20, 20, 20]
    assert sorted(t.decode() for part in seen for t in part) == sorted(c.text for _, c in pairs)


def test_large_sets_have_at_least_64_shards():
    assert [tfds_writer.shard_count(n) for n in (1, 10_000, 10_001, 50_000)] == [1, 1, 2, 5]
    assert tfds_writer.shard_count(50_001) == 64 and tfds_writer.shard_count(2_000_000) == 200


def test_a_failed_write_leaves_the_old_set(tmp_path, pairs):
    data.write_tfds("toy", pairs, root=tmp_path)
    before = (tmp_path / "toy" / "1.0.0" / "manifest.json").read_text()

    def broken():
        yield pairs[0]
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        data.write_tfds("toy", broken(), root=tmp_path)
    with pytest.raises(UserError, match="no chains"):
        data.write_tfds("toy", [], root=tmp_path)
    with pytest.raises(UserError, match="paired with"):
        data.write_tfds("toy", [(pairs[0][0], pairs[5][1])], root=tmp_path)
    with pytest.raises(UserError, match="cannot name"):
        data.write_tfds("toy/../x", pairs, root=tmp_path)
    assert (tmp_path / "toy" / "1.0.0" / "manifest.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_set_names_hold_word_characters_only():
    assert tfds_writer.set_name("gsm8k", "cot", "gpt-3.5 turbo") == "gsm8k_cot_gpt_3_5_turbo"


def test_a_curated_set_is_found_by_its_name(tmp_path, monkeypatch, pairs):
    """Without a module that registers it, also for the student that sees answers only."""
    monkeypatch.setenv("T5DISTILL_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match="t5distill curate"):
        data.resolve("toy_cot_unheard", "t5")
    data.write_tfds("toy_cot_unheard", pairs)
    records.write_jsonl(tmp_path / "toy/test.jsonl", [p for p, _ in pairs[::2]])
    assert data.resolve("toy_cot_unheard", "t5") == "toy_cot_unheard"
    assert sorted(read("toy_cot_unheard")) == sorted(chain.text for _, chain in pairs)
    assert list(seqio.TaskRegistry.get("toy_cot_unheard").splits) == ["train", "test"]
    assert data.resolve("toy_answer_unheard", "byt5") == "toy_answer_unheard__byt5"
    assert len(read("toy_answer_unheard__byt5")) == 30
