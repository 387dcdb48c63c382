"""`t5distill capture`: a teacher's likeliest tokens, for its own vocabulary and for another."""

import json

import jax
import numpy as np
import pytest

from t5distill import data, tasks  # noqa: F401 (registers)
from t5distill.__main__ import main
from t5distill.api import Student
from t5distill.curate import alignment
from t5distill.formats import cot, quantised, vocabulary
from t5distill.formats.standin import standin_vocabulary
from t5distill.problems import embedded
from t5distill.records import Chain, read_jsonl, write_jsonl
from t5distill.student import checkpoints
from t5distill.student.config import T5Config
from t5distill.student.network import init_parameters

TOP = 5
SHAPE = {"emb_dim": 16, "num_heads": 2, "head_dim": 8, "mlp_dim": 16}
LAYERS = {"num_encoder_layers": 1, "num_decoder_layers": 1}


def teacher_in(directory, vocab, size, path=None):
    """Write a checkpoint of random weights."""
    config = T5Config(vocab_size=size, **SHAPE, **LAYERS)
    record = {"vocab": {"name": vocab, "path": path}, "task": "embedded_cot", "style": "cot"}
    checkpoints.write_config(directory, config, record)
    # Sharper than a random network is.
    params = jax.tree.map(lambda x: 3.0 * x, init_parameters(config, 1))
    writer = checkpoints.Checkpoints(directory, keep=1)
    writer.save(1, params, {"count": np.zeros(1)}, {})
    writer.close()
    return str(directory)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Problems with chains, a teacher in bytes and one in pieces."""
    root = tmp_path_factory.mktemp("capture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T5DISTILL_DATA_DIR", str(root / "data"))
        model = str(standin_vocabulary(root / "standin.model"))
        patch.setenv("T5DISTILL_T5_VOCAB", model)
        problems = list(embedded.generate(count=9, seed=0, split="train"))
        write_jsonl(root / "data/embedded/train.jsonl", problems)
        chains = [
            Chain(problem_id=p.id, style="cot", text=p.solution, teacher="robot") for p in problems
        ]
        write_jsonl(root / "chains.jsonl", chains)
        teacher_in(root / "bytes", "byt5", 384)
        teacher_in(root / "pieces", "t5", vocabulary.load("t5").vocab_size, model)
        yield root


def capture(root, teacher, out, *more):
    given = ["--problems", str(root / "data/embedded/train.jsonl")]
    given += ["--chains", str(root / "chains.jsonl"), "--out", str(out), "--top", str(TOP)]
    return main(
        ["capture", "--checkpoint", str(root / teacher), *given, "--batch-size", "4", *more]
    )


def test_it_keeps_what_the_network_says(root, capsys):
    out = root / "captured.jsonl"
    assert capture(root, "pieces", out, "--name", "large") == 0
    assert "t5distill curate" in capsys.readouterr().out
    chains = list(read_jsonl(Chain, out))
    before = list(read_jsonl(Chain, root / "chains.jsonl"))
    assert [c.text for c in chains] == [c.text for c in before] and len(chains) == 9
    student = Student.load(root / "pieces")
    problems = {p.id: p for p in embedded.generate(count=9, seed=0, split="train")}
    for chain in chains:
        alignment.check(chain, TOP)
        assert chain.teacher == "large"
        problem, soft = problems[chain.problem_id], chain.meta["soft"]
        tokens = student.encode(cot.targets(problem, chain))
        assert soft["tokens"] == tokens and tokens[-1] == vocabulary.EOS_ID
        logits = student.logits([student.encode(cot.inputs(problem))], [[0, *tokens[:-1]]])[0]
        log_p = np.asarray(jax.nn.log_softmax(logits))
        wanted = -np.sort(-log_p, axis=-1)[:, :TOP]
        np.testing.assert_allclose(soft["logprobs"], wanted, rtol=2e-3, atol=2e-5)
        found = np.take_along_axis(log_p, np.array(soft["ids"]), axis=-1)
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-5)


def test_a_run_that_was_killed_goes_on(root, capsys):
    whole, out = root / "captured.jsonl", root / "again.jsonl"
    if not whole.exists():
        assert capture(root, "pieces", whole, "--name", "large") == 0
    lines = whole.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    assert capture(root, "pieces", out, "--name", "large") == 0
    assert out.read_bytes() == whole.read_bytes()
    assert capture(root, "pieces", out, "--top", "4") == 2
    assert "another teacher, --top" in capsys.readouterr().err
    # Those of others are never gone on with.
    out.write_bytes(b"".join(reversed(lines)))
    assert capture(root, "pieces", out) == 2
    assert "begun with other chains" in capsys.readouterr().err


def test_a_task_reads_them_as_they_are(root):
    out = root / "captured.jsonl"
    if not out.exists():
        assert capture(root, "pieces", out, "--name", "large") == 0
    problems = {p.id: p for p in embedded.generate(count=9, seed=0, split="train")}
    chains = list(read_jsonl(Chain, out))
    data.write_tfds(
        "embedded_cot_large", [(problems[c.problem_id], c) for c in chains], soft_labels=TOP
    )
    data.register(benchmark="embedded", style="cot_soft", teacher="large", splits=("train",))
    lengths = {"inputs": 192, "targets": 256}
    batches = data.stream_batches(
        "embedded_cot_soft_large", lengths=lengths, batch_size=1, pack=False, repeat=False
    )
    by_tokens = {tuple(c.meta["soft"]["tokens"]): c.meta["soft"] for c in chains}
    count = 0
    for batch in batches:
        targets = batch["decoder_target_tokens"][0]
        soft = by_tokens[tuple(targets[targets > 0].tolist())]
        shape = (len(targets), TOP)
        ids = quantised.ids(batch["decoder_soft_ids"][0]).reshape(shape)[targets > 0]
        p = quantised.probabilities(batch["decoder_soft_values"][0]).reshape(shape)[targets > 0]
        np.testing.assert_array_equal(ids, soft["ids"])
        np.testing.assert_allclose(p, np.exp(soft["logprobs"]), rtol=2.5e-4)
        assert p[-1].any()  # a white-box teacher says when it would have ended
        count += 1
    assert count == 9


@pytest.mark.parametrize(("teacher", "student"), [("pieces", "byt5"), ("bytes", "t5")])
def test_another_vocabulary_gets_texts(root, teacher, student):
    out = root / f"{teacher}_for_{student}.jsonl"
    assert capture(root, teacher, out, "--vocab", student) == 0
    plain = vocabulary.load(student)
    for chain in read_jsonl(Chain, out):
        alignment.check(chain, TOP)
        assert "".join(token["text"] for token in chain.meta["tokens"]) == chain.text
        soft = alignment.align(chain.text, chain, plain, k=TOP)
        assert (soft.probabilities[:, 0] > 0).mean() > 0.95
        assert soft.probabilities.sum(axis=1).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda soft: soft["ids"][2].pop(), "token 2: 4 and 5 entries, wanted 5"),
        (lambda soft: soft["ids"][1].__setitem__(0, soft["ids"][1][1]), "token 1: ids"),
        (lambda soft: soft["logprobs"][0].__setitem__(0, float("nan")), "token 0: log-prob"),
        (lambda soft: soft["logprobs"][0].__setitem__(0, 0.5), "token 0: log-prob"),
        (lambda soft: soft["logprobs"][0].__setitem__(1, 0.0), "probabilities sum to"),
        (lambda soft: soft["logprobs"].pop(), "rows of ids"),
        (lambda soft: soft.pop("ids"), "of another form"),
    ],
)
def test_damaged_captures_are_refused(root, change, message):
    out = root / "captured.jsonl"
    if not out.exists():
        assert capture(root, "pieces", out, "--name", "large") == 0
    obj = json.loads(out.read_bytes().splitlines()[0])
    change(obj["meta"]["soft"])
    chain = Chain(**obj)
    with pytest.raises(ValueError, match=message):
        alignment.check(chain, TOP)


def test_other_tokens_than_the_student_s_are_refused(root):
    out = root / "captured.jsonl"
    if not out.exists():
        assert capture(root, "pieces", out, "--name", "large") == 0
    chain = next(iter(read_jsonl(Chain, out)))
    with pytest.raises(ValueError, match="captured for other tokens"):
        alignment.align(f"{chain.text} So.", chain, vocabulary.load("t5"))
    with pytest.raises(ValueError, match="captured for other tokens"):
        alignment.align(chain.text, chain, vocabulary.load("byt5"))


@pytest.mark.parametrize(
    ("more", "message"),
    [(("--top", "0"), "at least 1"), (("--top", "4000"), "the teacher has")],
)
def test_mistakes(root, more, message, capsys):
    out = root / "mistake.jsonl"
    assert capture(root, "pieces", out, *more) == 2
    assert message in capsys.readouterr().err
    write_jsonl(root / "stray.jsonl", [Chain(problem_id="x", style="cot", text="t", teacher="r")])
    argv = ["capture", "--checkpoint", str(root / "pieces"), "--out", str(out)]
    argv += ["--problems", str(root / "data/embedded/train.jsonl")]
    assert main([*argv, "--chains", str(root / "stray.jsonl")]) == 2
    assert "is not among --problems" in capsys.readouterr().err
    assert not out.exists()
