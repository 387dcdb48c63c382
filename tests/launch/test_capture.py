"""`t5distill capture`: a teacher's likeliest tokens, for its own vocabulary and for another."""

import dataclasses
import fcntl
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
            Chain(problem_id=p.id, style="cot", text=p.solution, teacher="gold") for p in problems
        ]
        # Characters of several bytes and of several pieces.
        chains[3] = dataclasses.replace(chains[3], text=f"Für 3 € sind ✓ {chains[3].text}")
        write_jsonl(root / "chains.jsonl", chains)
        teacher_in(root / "bytes", "byt5", 384)
        teacher_in(root / "pieces", "t5", vocabulary.load("t5").vocab_size, model)
        yield root


def capture(root, teacher, out, *more):
    given = ["--problems", str(root / "data/embedded/train.jsonl")]
    given += ["--chains", str(root / "chains.jsonl"), "--out", str(out), "--top", str(TOP)]
    given += ["--name", "large", "--batch-size", "4"]
    return main(["capture", "--checkpoint", str(root / teacher), *given, *more])


@pytest.fixture(scope="module")
def captured(root):
    """What the teacher in pieces says, captured."""
    out = root / "captured.jsonl"
    assert capture(root, "pieces", out) == 0
    return out


def test_it_keeps_what_the_network_says(root, captured):
    chains = list(read_jsonl(Chain, captured))
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
        # Never more than was said, so that what adds up to at most 1 still does.
        assert (np.exp(soft["logprobs"]).sum(axis=1) <= 1).all()
        assert (np.array(soft["logprobs"]) <= found + 1e-3).all()


def test_a_run_that_was_killed_goes_on(root, captured, capsys):
    whole, out = captured.read_bytes(), root / "again.jsonl"
    partial = out.with_name("again.jsonl.partial")
    lines = whole.splitlines(keepends=True)
    about = json.loads(lines[0])["meta"]["captured"]

    def torn(head, *more):
        partial.write_bytes(b"".join([json.dumps(head).encode(), b"\n", *lines[:3], lines[3][:40]]))
        return capture(root, "pieces", out, *more)

    assert torn(about) == 0
    assert out.read_bytes() == whole and not partial.exists()
    # It is all there: the same command finds nothing to do, another one touches nothing.
    stamp = out.stat().st_mtime_ns
    assert capture(root, "pieces", out) == 0 and out.stat().st_mtime_ns == stamp
    assert capture(root, "pieces", out, "--top", "4") == 2
    assert "not what this command would write" in capsys.readouterr().err
    out.unlink()
    for other in ({**about, "network": "x"}, {**about, "of": "y"}, {**about, "name": "z"}, 7):
        assert torn(other) == 2
        assert "begun with other chains or problems" in capsys.readouterr().err
    assert partial.exists() and not out.exists()


def test_a_file_of_somebody_else_is_left_alone(root, captured, capsys):
    out = root / "notes.txt"
    for text in ("my precious notes", '{"hello": 1}\n', "not json\n"):
        out.write_text(text)
        assert capture(root, "pieces", out) == 2
        assert "not what this command would write" in capsys.readouterr().err
        assert out.read_text() == text


def test_one_process_writes(root, capsys):
    out = root / "shared.jsonl"
    with open(f"{out}.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert capture(root, "pieces", out) == 2
    assert "another process is writing it" in capsys.readouterr().err
    assert capture(root, "pieces", "/proc/no/place.jsonl") == 2
    assert "cannot be written here" in capsys.readouterr().err


def test_a_task_reads_them_as_they_are(root, captured):
    problems = {p.id: p for p in embedded.generate(count=9, seed=0, split="train")}
    chains = list(read_jsonl(Chain, captured))
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


def _logprob(checkpoint, chain, character):
    """Return the log-probability of a character, by all logits."""
    student = Student.load(checkpoint)
    problems = {p.id: p for p in embedded.generate(count=9, seed=0, split="train")}
    before, _, _ = chain.text.partition(character)
    first = len(student.vocabulary.encode(before))
    tokens = student.encode(chain.text)
    _, ends = student.vocabulary.spans(chain.text)
    last = max(i for i, end in enumerate(ends) if end == len(before) + 1)
    inputs = student.encode(cot.inputs(problems[chain.problem_id]))
    log_p = jax.nn.log_softmax(student.logits([inputs], [[0, *tokens[:-1]]])[0])
    return float(sum(log_p[i, tokens[i]] for i in range(first, last + 1)))


@pytest.mark.parametrize(("teacher", "student"), [("pieces", "byt5"), ("bytes", "t5")])
def test_another_vocabulary_gets_texts(root, teacher, student):
    out = root / f"{teacher}_for_{student}.jsonl"
    assert capture(root, teacher, out, "--vocab", student) == 0
    plain = vocabulary.load(student)
    for chain in read_jsonl(Chain, out):
        alignment.check(chain, TOP)
        assert "".join(token["text"] for token in chain.meta["tokens"]) == chain.text
        soft = alignment.align(chain.text, chain, plain, k=TOP)
        if "€" in chain.text:
            [euro] = [t for t in chain.meta["tokens"] if "€" in t["text"]]
            # Three bytes, or six pieces: the product of them all.
            assert euro["text"] == "€" and euro["top"][0][0] == "€"
            assert euro["top"][0][1] == pytest.approx(
                _logprob(root / teacher, chain, "€"), abs=0.02
            )
        assert (soft.probabilities[:, 0] > 0).mean() > 0.95
        assert soft.probabilities.sum(axis=1).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda soft: soft["ids"][2].pop(), "token 2: ids and log-probabilities"),
        (lambda soft: (soft["ids"][2].pop(), soft["logprobs"][2].pop()), "token 2: 4 entries"),
        (lambda soft: soft["ids"].__setitem__(0, None), "token 0: ids and log-probabilities"),
        (lambda soft: soft["ids"][0].__setitem__(0, -1), "token 0: ids"),
        (lambda soft: soft["ids"][0].__setitem__(0, True), "token 0: ids"),
        (lambda soft: soft["ids"][0].__setitem__(0, 2**40), "token 0: ids"),
        (lambda soft: soft["logprobs"][0].reverse(), "token 0: the likeliest is not first"),
        (lambda soft: soft["logprobs"][0].__setitem__(4, -float("inf")), "token 0: log-prob"),
        (lambda soft: soft.__setitem__("tokens", 5), "of another form"),
        (lambda soft: soft["tokens"].__setitem__(0, "x"), "are no token ids"),
        (lambda soft: soft["ids"][1].__setitem__(0, soft["ids"][1][1]), "token 1: ids"),
        (lambda soft: soft["logprobs"][0].__setitem__(0, float("nan")), "token 0: log-prob"),
        (lambda soft: soft["logprobs"][0].__setitem__(0, 0.5), "token 0: log-prob"),
        (lambda soft: soft["logprobs"][0].__setitem__(0, -1e-9), "probabilities sum to"),
        (lambda soft: soft["logprobs"].pop(), "rows of ids"),
        (lambda soft: soft.pop("ids"), "of another form"),
    ],
)
def test_damaged_captures_are_refused(captured, change, message):
    obj = json.loads(captured.read_bytes().splitlines()[0])
    change(obj["meta"]["soft"])
    chain = Chain(**obj)
    with pytest.raises(ValueError, match=message):
        alignment.check(chain, TOP)
    nothing = dataclasses.replace(chain, meta={"soft": 5})
    with pytest.raises(ValueError, match="of another form"):
        alignment.align(chain.text, nothing, vocabulary.load("t5"))


def test_other_tokens_than_the_student_s_are_refused(captured):
    chain = next(iter(read_jsonl(Chain, captured)))
    with pytest.raises(ValueError, match="captured for other tokens"):
        alignment.align(f"{chain.text} So.", chain, vocabulary.load("t5"))
    with pytest.raises(ValueError, match="captured for other tokens"):
        alignment.align(chain.text, chain, vocabulary.load("byt5"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--top", "0"), "at least 1"),
        (("--top", "4000"), "the teacher has"),
        (("--name", "gold"), "a benchmark's own solutions"),
    ],
)
def test_mistakes(root, more, message, capsys):
    out = root / "mistake.jsonl"
    assert capture(root, "pieces", out, *more) == 2
    assert message in capsys.readouterr().err
    write_jsonl(root / "stray.jsonl", [Chain(problem_id="x", style="cot", text="t", teacher="r")])
    argv = ["capture", "--checkpoint", str(root / "pieces"), "--out", str(out)]
    argv += ["--name", "large"]
    argv += ["--problems", str(root / "data/embedded/train.jsonl")]
    assert main([*argv, "--chains", str(root / "stray.jsonl")]) == 2
    assert "is not among --problems" in capsys.readouterr().err
    assert not out.exists()
