"""Paths in a bucket: TensorFlow's file system against a server of Cloud Storage's own API."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5distill import places, records
from t5distill.__main__ import main
from t5distill.curate import staging
from t5distill.errors import UserError
from t5distill.evaluate import journal
from t5distill.evaluate.captures import Captures
from t5distill.evaluate.store import Store
from t5distill.formats import vocabulary
from t5distill.formats.standin import standin_vocabulary
from t5distill.problems import embedded, publishing
from t5distill.records import Chain, Prediction, Problem
from t5distill.student import checkpoints
from t5distill.teacher.ledger import Ledger

ROOT = "gs://bucket"


def test_records_go_into_a_bucket_and_come_back(bucket):
    problems = embedded.generate(count=20, seed=0, split="train")
    path = f"{ROOT}/data/embedded/train.jsonl"
    assert records.write_jsonl(path, problems) == 20
    assert list(records.read_jsonl(Problem, path)) == problems
    content = bucket.objects["bucket/data/embedded/train.jsonl"][0]
    assert records.file_sha256(path) == hashlib.sha256(content).hexdigest()


def test_what_fails_is_not_written(bucket):
    def some():
        yield from embedded.generate(count=2, seed=0, split="train")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records.write_jsonl(f"{ROOT}/train.jsonl", some())
    assert not bucket.objects


def test_errors_name_file_and_line(bucket):
    with pytest.raises(UserError, match=r"gs://bucket/none.jsonl: no such file"):
        list(records.read_jsonl(Problem, f"{ROOT}/none.jsonl"))
    places.place(f"{ROOT}/some.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(UserError, match=r"gs://bucket/some.jsonl:1: not a Problem"):
        list(records.read_jsonl(Problem, f"{ROOT}/some.jsonl"))


def test_prepared_data_is_published_manifest_last(bucket):
    splits = {"train": embedded.generate(count=3, seed=0, split="train")}
    out = places.place(f"{ROOT}/data")
    (out / "mine").mkdir(parents=True)
    for _ in range(2):
        publishing.publish(out, {"mine": splits}, {"mine": {"seed": 0}})
    wrote = [
        path.rpartition("%2F")[2] for kind, path, size in bucket.requests if kind == "PUT" and size
    ]
    assert wrote == ["train.jsonl", "prepare.json"] * 2
    written = publishing.manifest(out / "mine")["splits"]["train"]
    assert written["sha256"] == records.file_sha256(out / "mine" / "train.jsonl")


def test_folders_come_and_go_whole(bucket, tmp_path):
    source = tmp_path / "set" / "1.0.0"
    target = places.place(f"{ROOT}/tfds/set")
    for names in (("a", "b", "z", "manifest.json"), ("a", "manifest.json")):
        source.mkdir(parents=True, exist_ok=True)
        for name in names:
            (source / name).write_text(f"{name} of {len(names)}")
        staging.replace(source.parent, target, last="1.0.0/manifest.json")
        held = [name for name in bucket.names("bucket") if not name.endswith("/")]
        assert held == sorted(f"tfds/set/1.0.0/{name}" for name in names)
        changes = [path for kind, path, size in bucket.requests if size or kind == "DELETE"]
        assert changes[-1].endswith("manifest.json")
    first = next(i for i, (kind, *_) in enumerate(bucket.requests) if kind == "DELETE")
    assert bucket.requests[first][1].endswith("manifest.json")
    with places.fetched(target) as local:
        assert (local / "1.0.0" / "a").read_text() == "a of 2"
    assert not local.exists()
    places.remove_tree(target)
    places.remove_tree(target)  # where nothing is, too
    assert not bucket.names("bucket")


def turn(i):
    return [Prediction(problem_id=f"p{i}", text=f"text {i}", sample=0)]


@pytest.mark.parametrize("root", [ROOT, "local"])
def test_a_run_that_was_cut_off_goes_on(bucket, root, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "BYTES", 200)  # so that there are several parts
    out = places.place(root if root == ROOT else tmp_path) / "out" / "p.jsonl"
    with pytest.raises(KeyboardInterrupt):
        pass_on(Store(out, {"seed": 1}), range(5))
    again = Store(out, {"seed": 1})
    assert sorted(again.turns) == [0, 1, 2, 3, 4]
    with again.opened():
        for i in range(5, 9):
            again.add(i, 0, turn(i))
    again.finish(p for i in range(9) for p in turn(i))
    assert [p.problem_id for p in records.read_jsonl(Prediction, out)] == [
        f"p{i}" for i in range(9)
    ]
    assert Store(out, {"seed": 1}).complete
    assert sorted(path.name for path in out.parent.iterdir()) == ["p.jsonl", "p.settings.json"]


def pass_on(store, indices):
    """Keep some turns, and end as Ctrl-C does."""
    with store.opened():
        for i in indices:
            store.add(i, 0, turn(i))
        raise KeyboardInterrupt


@pytest.mark.parametrize("root", [ROOT, "local"])
def test_another_runs_lines_are_kept_aside(bucket, root, tmp_path):
    out = places.place(root if root == ROOT else tmp_path) / "p.jsonl"
    with pytest.raises(KeyboardInterrupt):
        pass_on(Store(out, {"seed": 1}), range(3))
    other = Store(out, {"seed": 2})
    assert not other.turns
    with other.opened():
        other.add(0, 0, turn(0))
    assert [path.name for path in other.set_aside] == ["p.old.jsonl.partial"]
    kept = other.set_aside[0].read_text().splitlines()
    assert (json.loads(kept[0]), len(kept)) == ({"seed": 1}, 4)
    assert list(Store(out, {"seed": 2}).turns) == [0]


def test_a_damaged_part_is_dropped_and_what_came_before_it_kept(bucket, monkeypatch):
    monkeypatch.setattr(journal, "BYTES", 1)  # a part for every line
    out = places.place(f"{ROOT}/p.jsonl")
    with pytest.raises(KeyboardInterrupt):
        pass_on(Store(out, {"seed": 1}), range(4))
    places.place(f"{ROOT}/p.jsonl.partial-00003").write_text("rubbish\n")
    again = Store(out, {"seed": 1})
    assert sorted(again.turns) == [0, 1]
    with again.opened():
        again.add(2, 0, turn(2))
    assert sorted(Store(out, {"seed": 1}).turns) == [0, 1, 2]


def test_checkpoints_come_and_go(bucket):
    run = f"{ROOT}/run"
    writer = checkpoints.Checkpoints(run, keep=1)
    for step in (1, 2, 3):
        params = {"a": jnp.arange(6.0) * step}
        writer.save(step, params, {"count": jnp.int32(step)}, {"validation_loss": abs(step - 2.0)})
    writer.close()
    assert checkpoints.steps(run) == [2, 3]  # the best one and the last one
    assert checkpoints.best_step(run) == 2
    (places.place(run) / "checkpoint_2" / "_CHECKPOINT_METADATA").unlink()  # begun to be deleted
    again = checkpoints.Checkpoints(run)
    assert checkpoints.steps(run) == [3]
    assert not [name for name in bucket.names("bucket") if "checkpoint_2" in name]
    shapes = jax.eval_shape(lambda: {"a": jnp.zeros(6)})
    on = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=on), shapes)
    count = {"count": jax.ShapeDtypeStruct((), jnp.int32, sharding=on)}
    restored = again.restore(3, shapes, count)
    assert (restored.step, int(restored.optimizer["count"])) == (3, 3)
    np.testing.assert_array_equal(restored.params["a"], np.arange(6.0) * 3)


def test_a_vocabulary_in_a_bucket(bucket, tmp_path):
    model = standin_vocabulary(tmp_path / "s.model")
    places.place(f"{ROOT}/s.model").write_bytes(model.read_bytes())
    text = "She has 3 + 4 = 7 pens."
    here, there = (vocabulary.load("t5", path).encode(text) for path in (model, f"{ROOT}/s.model"))
    assert here == there
    with pytest.raises(UserError, match="cannot read this SentencePiece model"):
        vocabulary.load("t5", f"{ROOT}/none.model")


def test_captures_are_whole_in_a_bucket(bucket):
    chains = [Chain(problem_id=f"p{i}", style="cot", text="t", teacher="large") for i in range(4)]
    out, about = places.place(f"{ROOT}/captured.jsonl"), {"top": 5}
    captures = Captures(out, about, count=4)
    with pytest.raises(KeyboardInterrupt), captures.opened() as done:
        for chain in chains[:3]:
            captures.add(chain)
        raise KeyboardInterrupt
    assert done == 0 and not out.exists()
    assert Captures(out, about, count=4)._read()[1] == 3
    captures = Captures(out, about, count=4)
    with captures.opened() as done:
        assert done == 3
        captures.add(chains[3])
    assert [c.problem_id for c in records.read_jsonl(Chain, out)] == ["p0", "p1", "p2", "p3"]
    assert [name for name in bucket.names("bucket") if "captured" in name] == ["captured.jsonl"]
    with Captures(out, about, count=4).opened() as done:
        assert done == 4


def test_a_ledger_is_local():
    with pytest.raises(UserError, match=r"gs://bucket/chains.db: a ledger is a database"):
        Ledger(f"{ROOT}/chains.db")


def test_a_bucket_that_does_not_answer_is_one_line(outage):
    with pytest.raises(UserError) as told:
        records.write_jsonl(f"{ROOT}/p.jsonl", embedded.generate(count=2, seed=0, split="train"))
    assert str(told.value).startswith("gs://bucket/p.jsonl: ")
    assert "\n" not in str(told.value)


def test_a_command_says_it_in_one_line_too(outage, capsys):
    assert main(["score", "--problems", f"{ROOT}/p.jsonl", "--predictions", "p", "--out", "o"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("t5distill score: ")
    assert "gs://bucket/p.jsonl" in told
    assert told.count("\n") == 1
