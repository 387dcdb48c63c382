"""Readers of official formats, on small files written by hand in those formats."""

import decimal
import json
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5distill.errors import UserError
from t5distill.problems import (
    aqua,
    asdiv,
    bbh,
    commonsenseqa,
    gsm8k,
    gsm_hard,
    mawps,
    source,
    strategyqa,
    svamp,
)

ASDIV = """<?xml version="1.0" encoding="UTF-8" ?>
<Machine-Reading-Corpus-File>
<ProblemSet>
{}
</ProblemSet>
</Machine-Reading-Corpus-File>
"""


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_list(path, *rows):
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return path


def asdiv_file(path, *answers, body="Ann has 3 pens."):
    elements = [
        f'<Problem ID="nluds-{i:04d}" Grade="2" Source="http://example.org"><Body>{body} </Body>'
        f"<Question>How many? {i}</Question><Solution-Type>Sum</Solution-Type>"
        f"<Answer>{answer}</Answer><Formula>1+2=3</Formula></Problem>"
        for i, answer in enumerate(answers)
    ]
    path.write_text(ASDIV.format("\n".join(elements)), encoding="utf-8")
    return path


def test_gsm8k_keeps_the_solution_and_takes_the_commas_out(tmp_path):
    solution = "He earns 2*600=<<2*600=1200>>1,200.\u2028Done.\n#### 1,200"
    path = write(
        tmp_path / "train.jsonl",
        {"question": "How\u2028much?", "answer": solution},
        {"question": "And now?", "answer": "0 - 5 = -5\n#### -5"},
    )
    first, second = gsm8k.read(path, "train")
    assert (first.id, first.answer, first.solution) == ("gsm8k-train-0", "1200", solution)
    assert first.question == "How\u2028much?"
    assert (first.kind, first.benchmark, first.split) == ("numeric", "gsm8k", "train")
    assert second.answer == "-5"


def test_raw_unicode_line_separators_do_not_end_a_line(tmp_path):
    path = tmp_path / "test.jsonl"
    line = '{"question": "a\u2028b\u0085c", "answer": "so\u2028\\n#### 3"}\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\n" + line.encode())
    assert [p.question for p in gsm8k.read(path, "test")] == ["a\u2028b\u0085c"] * 2


def test_gsm8k_through_tfds(monkeypatch):
    example = {"question": "How many – 3?".encode(), "answer": b"1+2=3\n#### 3", "annotation": b"x"}
    fake = types.SimpleNamespace(load=lambda name, split: [example], as_numpy=iter)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    [problem] = gsm8k.read_tfds("test")
    assert (problem.id, problem.answer) == ("gsm8k-test-tfds-0", "3")
    assert problem.question == "How many – 3?"


def test_no_network_for_tfds_is_an_error_of_the_user(monkeypatch):
    def load(name, split):
        raise ConnectionError("no network")

    fake = types.SimpleNamespace(load=load, as_numpy=iter)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    with pytest.raises(UserError, match=r"no network.*--raw"):
        list(gsm8k.read_tfds("test"))


def test_svamp_joins_body_and_question(tmp_path):
    row = {"Equation": "( 8.0 - 3.0 )", "Answer": 5.0, "Type": "Subtraction"}
    path = write_list(
        tmp_path / "SVAMP.json",
        {"ID": "chal-1", "Body": "A pen is $ 8. He has 3", "Question": "How many left?", **row},
        {"ID": "chal-2", "Body": "He had 8 pens.", "Question": "How many left?", **row},
    )
    first, second = svamp.read(path, "train")
    assert first.question == "A pen is $ 8. He has 3, how many left?"
    assert second.question == "He had 8 pens. How many left?"
    assert (first.id, first.answer) == ("svamp-chal-1", "5")
    assert first.meta == {"equation": "( 8.0 - 3.0 )", "type": "Subtraction"}


@pytest.mark.parametrize(
    ("answer", "kind", "gold", "meta"),
    [
        ("9 (apples)", "numeric", "9", {"unit": "apples"}),
        ("14  (seats)", "numeric", "14", {"unit": "seats"}),
        ("3.50 (dollars)", "numeric", "3.5", {"unit": "dollars"}),
        ("383", "numeric", "383", {}),
        ("5/2", "numeric", "5/2", {}),
        ("-(1/3)", "numeric", "-1/3", {}),
        ("Yes", "yes_no", "yes", {}),
        ("No", "yes_no", "no", {}),
        (
            "17 (years old); 12 (years old)",
            "string",
            "17; 12",
            {"values": ["17", "12"], "units": ["years old", "years old"]},
        ),
        ("8; 40", "string", "8; 40", {"values": ["8", "40"], "units": ["", ""]}),
        ("5:45", "string", "5:45", {}),
        ("3:30 p.m.", "string", "3:30 p.m.", {}),
        ("They are equal", "string", "They are equal", {}),
        ("6th", "string", "6th", {}),
        ("Mrs. Hilt", "string", "Mrs. Hilt", {}),
    ],
)
def test_asdiv_answers(tmp_path, answer, kind, gold, meta):
    [problem] = asdiv.read(asdiv_file(tmp_path / "ASDiv.xml", answer), "train")
    assert (problem.kind, problem.answer) == (kind, gold)
    assert problem.meta == {"grade": "2", "type": "Sum", "formula": "1+2=3", **meta}
    assert problem.id == "asdiv-nluds-0000"
    assert problem.question == "Ann has 3 pens. How many? 0"


def test_mawps_in_both_forms(tmp_path):
    new = write(
        tmp_path / "a.jsonl",
        {"input": "Joan found 70 . How many ? ", "target": 43.0},
        {"input": "How much ?", "target": 0.6666666667},
    )
    old = write_list(
        tmp_path / "AddSub.json",
        {
            "iIndex": 1,
            "sQuestion": "Joan found 70 . How many ?",
            "lSolutions": [43.0],
            "lEquations": ["70-x=27"],
        },
        {"iIndex": 2, "sQuestion": "How much ?", "lSolutions": ["0.6666666666666666"]},
    )
    first, second = mawps.read(new, "train", subset="addsub")
    assert (first.id, first.question, first.answer) == (
        "addsub-0",
        "Joan found 70 . How many ?",
        "43",
    )
    assert second.answer == "0.6666666667"
    assert [p.answer for p in mawps.read(old, "train", subset="addsub")] == [
        "43",
        "0.6666666666666666",
    ]
    [equation, _] = [p.meta.get("equations") for p in mawps.read(old, "train", subset="addsub")]
    assert equation == ["70-x=27"]
    union = list(mawps.read(old, "train", subset="addsub", benchmark="mawps"))
    assert (union[0].id, union[0].benchmark) == ("mawps-addsub-0", "mawps")


def test_gsm_hard_numbers_are_plain_decimals(tmp_path):
    path = tmp_path / "gsmhardv2.jsonl"
    targets = ["-9867630.0", "9284017268534.4", "2.0107e-06", "1e3", "-0.0"]
    rows = [f'{{"input": "How many?", "code": "x", "target": {t}}}' for t in targets]
    path.write_text("\n".join(rows))
    problems = list(gsm_hard.read(path, "test"))
    answers = [p.answer for p in problems]
    assert answers == ["-9867630", "9284017268534.4", "0.0000020107", "1000", "0"]
    assert problems[2].meta["gsm8k"] == "gsm8k-test-2"


def test_aqua_in_both_forms(tmp_path):
    pal = write(
        tmp_path / "aqua.jsonl",
        {
            "input": "Which (a or b)?Answer Choices:(a) 5(√3 + 1(b) a, b (c) $1(d) f(x)"
            "(e) (a) and (b)",
            "target": "(e)",
        },
    )
    authors = write(
        tmp_path / "test.json",
        {
            "question": "What is 2+1?",
            "options": ["A)1", "B)2", "C)3", "D)4", "E)5"],
            "rationale": "2+1=3\nAnswer C",
            "correct": "C",
        },
    )
    [one] = aqua.read(pal, "test")
    assert one.question == "Which (a or b)?"
    assert one.choices == ["5(√3 + 1", "a, b", "$1", "f(x)", "(a) and (b)"]
    assert (one.id, one.answer, one.kind) == ("aqua-test-0", "E", "choice")
    [two] = aqua.read(authors, "test")
    assert (two.choices, two.answer) == (["1", "2", "3", "4", "5"], "C")
    assert two.solution == "2+1=3\nAnswer C"


def test_strategyqa(tmp_path):
    path = write_list(
        tmp_path / "dev.json",
        {"qid": "ab", "question": "Is it?", "answer": True, "facts": ["It is."]},
        {"qid": "cd", "question": "Was it?", "answer": False},
    )
    first, second = strategyqa.read(path, "test")
    assert (first.id, first.answer, first.kind) == ("strategyqa-ab", "yes", "yes_no")
    assert first.meta == {"facts": ["It is."]}
    assert second.answer == "no"


def test_commonsenseqa_in_both_forms(tmp_path):
    texts = ["bank", "library", "mall", "bridge", "bridge"]
    official = write(
        tmp_path / "dev_rand_split.jsonl",
        {
            "answerKey": "B",
            "id": "q1",
            "question": {
                "question_concept": "door",
                "stem": "Where is a door?",
                "choices": [
                    {"label": label, "text": text}
                    for label, text in zip("ABCDE", texts, strict=True)
                ],
            },
        },
    )
    palm = write(
        tmp_path / "cqa_test.json",
        {"id": "q2", "question": "Where does he live?", "choices": texts, "answer": "bridge"},
    )
    [one] = commonsenseqa.read(official, "test")
    assert (one.id, one.question, one.answer) == ("commonsenseqa-q1", "Where is a door?", "B")
    assert one.choices == texts
    assert one.meta == {"concept": "door"}
    [two] = commonsenseqa.read(palm, "test")
    assert (two.answer, two.meta) == ("D", {"same_text": ["D", "E"]})


def bbh_file(path, *examples):
    rows = [{"input": text, "target": target} for text, target in examples]
    path.write_text(json.dumps({"canary": "NEVER TRAIN. canary GUID x", "examples": rows}))
    return path


@pytest.mark.parametrize(
    ("task", "text", "target", "question", "kind", "answer", "choices"),
    [
        (
            "snarks",
            "Which one?\nOptions:\n(A) He is\n(B) She is",
            "(B)",
            "Which one?",
            "choice",
            "B",
            ["He is", "She is"],
        ),
        (
            "formal_fallacies",
            "Is it?\nOptions:\n- valid \n- invalid",
            "invalid",
            "Is it?",
            "choice",
            "B",
            ["valid", "invalid"],
        ),
        (
            "ruin_names",
            "Edit of 'a, b'?\nOptions:\n(A) x\n(B) b",
            "x, b",
            "Edit of 'a, b'?\nOptions:\n(A) x\n(B) b",
            "string",
            "x, b",
            None,
        ),
        ("navigate", "Back?\nOptions:\n- Yes\n- No", "No", "Back?", "yes_no", "no", None),
        ("boolean_expressions", "not True is", "False", "not True is", "yes_no", "no", None),
        ("sports_understanding", "Plausible?", "yes", "Plausible?", "yes_no", "yes", None),
        ("object_counting", "How many?", "8", "How many?", "numeric", "8", None),
        ("multistep_arithmetic_two", "(1 - 2) =", "-1", "(1 - 2) =", "numeric", "-1", None),
        ("dyck_languages", "Close: < [", "] >", "Close: < [", "string", "] >", None),
    ],
)
def test_bbh(tmp_path, task, text, target, question, kind, answer, choices):
    [problem] = bbh.read(bbh_file(tmp_path / "x.json", (text, target)), "test", task=task)
    assert (problem.question, problem.kind) == (question, kind)
    assert (problem.answer, problem.choices) == (answer, choices)
    assert (problem.id, problem.benchmark) == (f"bbh_{task}-0", f"bbh_{task}")
    assert "canary GUID" in problem.meta["canary"]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_bbh_has_no_training_split(tmp_path, split):
    path = bbh_file(tmp_path / "x.json", ("Which?", "(A)"))
    with pytest.raises(UserError, match="canary"):
        list(bbh.read(path, split, task="snarks"))


def test_bbh_knows_all_tasks():
    assert len(bbh.TASKS) == 27


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9)))
def test_decimal_text_keeps_the_value(number):
    if abs(number.adjusted()) > 60:
        return
    text = source.decimal_text(number)
    assert decimal.Decimal(text) == number
    assert "e" not in text.lower() and text != "-0"


@pytest.mark.parametrize(
    "value", ["nan", "Infinity", "", "3 apples", "1e999999999", True, None, []]
)
def test_decimal_text_refuses(value):
    with pytest.raises(ValueError, match="no number"):
        source.decimal_text(value)
