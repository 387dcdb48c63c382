"""The inference driver: what it writes, what it keeps of a run that was cut off, what it reuses."""

import json

import numpy as np
import pytest

from t5distill import Student
from t5distill.errors import UserError
from t5distill.evaluate.inference import infer
from t5distill.evaluate.rounds import Decoding
from t5distill.formats.vocabulary import load
from t5distill.records import Prediction, Problem, read_jsonl, write_jsonl
from t5distill.student.config import T5Config
from t5distill.student.network import init_parameters


class Echo:
    """A stand-in student: a text depends on the input, its index, the sample and the seed."""

    def __init__(self, print_="a", stop_after=None):
        self.print_ = print_
        self.stop_after = stop_after
        self.asked = []

    def fingerprint(self):
        return self.print_

    def encode(self, text):
        return text

    def generate(self, texts, *, num_samples, indices, seed, progress, **settings):
        results = []
        # Longest first, as real decoding finishes in an order of its own.
        for place in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
            if self.stop_after is not None and len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(texts[place])
            rows = [
                Prediction(
                    problem_id="?",
                    text=f"{texts[place]}|{indices[place]}|{sample}|{seed}|\u2028",
                    sample=sample,
                    finished=sample == 0,
                    meta={"tokens": 3},
                )
                for sample in range(num_samples)
            ]
            progress(place, rows)
            results.append(rows)
        return results


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    write_jsonl(
        path,
        [
            Problem(
                id=f"p{i}",
                question="x" * (7 * i % 5),
                answer="1",
                kind="numeric",
                benchmark="b",
                split="test",
            )
            for i in range(6)
        ],
    )
    return path


def run(problems, student, **changes):
    style, slots = changes.pop("style", "answer"), changes.pop("slots", None)
    more = {name: changes.pop(name) for name in ("stop", "first") if name in changes}
    decoding = Decoding(**{"max_tokens": 8, "num_samples": 2, "seed": 5, **changes})
    out = problems.with_name("out") / "predictions.jsonl"
    done = infer(
        student=student,
        problems_path=problems,
        out_path=out,
        style=style,
        decoding=decoding,
        slots=slots,
        **more,
    )
    return out, done


def test_writes_predictions_in_the_problems_order(problems):
    out, done = run(problems, Echo())
    found = list(read_jsonl(Prediction, out))
    assert [(p.problem_id, p.sample) for p in found] == [
        (f"p{i}", s) for i in range(6) for s in range(2)
    ]
    assert found[3].text == "Q: xx\nA:|1|1|5|\u2028"
    assert (found[0].finished, found[1].finished, found[0].style) == (True, False, "answer")
    assert (done.problems, done.reused, done.tokens) == (6, 0, 36)
    assert sorted(p.name for p in out.parent.iterdir()) == [
        "predictions.jsonl",
        "predictions.settings.json",
    ]


def test_an_equal_run_does_nothing(problems):
    out, _ = run(problems, Echo())
    before = out.read_bytes(), out.stat().st_mtime_ns
    student = Echo()
    _, done = run(problems, student)
    assert (student.asked, done.reused, done.tokens) == ([], 6, 0)
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    "change", [{"seed": 6}, {"max_tokens": 9}, {"style": "cot"}, {"calculator": True}, "student"]
)
def test_other_settings_decode_again(problems, change):
    out, _ = run(problems, Echo())
    before = out.read_text()
    student = Echo("b") if change == "student" else Echo()
    _, done = run(problems, student, **({} if change == "student" else change))
    assert done.reused == 0 and len(student.asked) == 6
    # What was there is kept beside it.
    assert (out.parent / "predictions.old.jsonl").read_text() == before
    assert (out.parent / "predictions.old.settings.json").exists() and len(done.set_aside) == 2
    if change in ({"seed": 6}, {"style": "cot"}):
        assert out.read_text() != before


def test_a_changed_output_or_problem_file_decodes_again(problems):
    out, _ = run(problems, Echo())
    out.write_text(out.read_text().replace("|0|", "|9|"))
    _, done = run(problems, Echo())
    assert done.reused == 0
    text = problems.read_text().replace('"xx"', '"yy"')
    problems.write_text(text)
    _, done = run(problems, Echo())
    assert done.reused == 0


@pytest.mark.parametrize("torn", [False, True])
def test_a_cut_off_run_is_finished(problems, torn):
    whole, _ = run(problems, Echo())
    wanted = whole.read_bytes()
    for path in whole.parent.iterdir():
        path.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(problems, Echo(stop_after=4))
    assert not whole.exists()
    partial = whole.with_name("predictions.jsonl.partial")
    if torn:
        partial.write_bytes(partial.read_bytes()[:-20])
    student = Echo()
    _, done = run(problems, student)
    assert len(student.asked) == (3 if torn else 2)
    assert done.reused == (3 if torn else 4)
    assert whole.read_bytes() == wanted
    assert not partial.exists()


def test_a_cut_off_run_with_the_calculator_is_finished(problems):
    """A real network, sampled: what is decoded after the break does not know of it."""
    config = T5Config(
        vocab_size=384,
        emb_dim=8,
        num_heads=2,
        head_dim=4,
        mlp_dim=8,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    params = init_parameters(config, 0)
    # Every token's first dimension is large, and lets only the signs of equations through.
    signs = load("byt5").encode("0123456789+= ")
    params["token_embedder"]["embedding"] = (
        params["token_embedder"]["embedding"].at[:, 0].set(4.0).at[signs, 1:].multiply(2.0)
    )
    kernel = np.random.default_rng(0).normal(0, 1.0, (8, 384)).astype(np.float32)
    kernel[0] = -9.0
    kernel[0, signs] = 0.0
    kernel[0, signs[-3:]] = 0.6
    params["decoder"]["logits_dense"]["kernel"] = kernel

    class Stopping(Student):
        left = 99

        def generate(self, texts, *, progress, **settings):
            def stop(place, predictions):
                if not self.left:
                    raise KeyboardInterrupt
                self.left -= 1
                progress(place, predictions)

            return super().generate(texts, progress=stop, **settings)

    def student(left):
        made = Stopping(params, config, vocabulary=load("byt5"))
        made.left = left
        return made

    settings = {"calculator": True, "temperature": 1.0, "max_tokens": 60, "slots": 4}
    whole, _ = run(problems, student(99), **settings)
    wanted = whole.read_bytes()
    assert sum(p.meta["calculator"]["forced"] for p in read_jsonl(Prediction, whole)) > 3
    for path in whole.parent.iterdir():
        path.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(problems, student(3), **settings)
    _, done = run(problems, student(99), **settings)
    assert done.reused == 3 and whole.read_bytes() == wanted


def test_a_cut_off_run_with_other_settings_is_dropped(problems):
    with pytest.raises(KeyboardInterrupt):
        run(problems, Echo(stop_after=4))
    out, done = run(problems, Echo(), seed=6)
    assert done.reused == 0
    assert all("|6|" in p.text for p in read_jsonl(Prediction, out))


def test_interrupted_before_anything_was_written(problems):
    with pytest.raises(KeyboardInterrupt):
        run(problems, Echo(stop_after=0))
    _, done = run(problems, Echo())
    assert done.reused == 0


def test_bad_problem_files(problems):
    lines = problems.read_text().splitlines(keepends=True)
    problems.write_text("".join([*lines, lines[0]]))
    with pytest.raises(UserError, match="two problems have the id 'p0'"):
        run(problems, Echo())
    problems.write_text("")
    with pytest.raises(UserError, match="holds no problem"):
        run(problems, Echo())


def test_an_older_output_survives_until_the_new_one_is_whole(problems):
    out, _ = run(problems, Echo())
    before = out.read_text()
    with pytest.raises(KeyboardInterrupt):
        run(problems, Echo(stop_after=2), seed=6)
    assert out.read_text() == before
    saved = json.loads(out.with_name("predictions.settings.json").read_text())
    assert saved["settings"]["seed"] == 5


def test_a_broken_run_of_other_settings_is_set_aside(problems):
    with pytest.raises(KeyboardInterrupt):
        run(problems, Echo(), stop=iter([False, False, True]).__next__)
    partial = problems.parent / "out/predictions.jsonl.partial"
    before = partial.read_bytes()
    assert before.count(b"\n") == 4  # the settings, two turns, and the one that it stopped after
    run(problems, Echo(), seed=9)
    assert (problems.parent / "out/predictions.old.jsonl.partial").read_bytes() == before


def test_a_run_that_is_told_to_stop_goes_on_from_there(problems):
    wanted, _ = run(problems, Echo())
    whole = wanted.read_bytes()
    for path in wanted.parent.iterdir():
        path.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(problems, Echo(), stop=iter([False, False, True]).__next__)
    _, done = run(problems, Echo())
    assert done.reused == 3 and wanted.read_bytes() == whole


def test_a_student_that_would_never_be_asked_is_refused(problems):
    with pytest.raises(UserError, match="asked of one student"):
        run(problems, Echo(), style="cot", first=Echo("first"))
