"""Round trips of the codec, alone and through SentencePiece models."""

import json
import os
import pathlib
import re
import unicodedata

import hypothesis
import pytest
import sentencepiece
from hypothesis import strategies as st

from t5distill.formats import codec
from t5distill.formats.standin import standin_vocabulary
from t5distill.formats.vocabulary import SentencePieceVocabulary

REAL = os.environ.get("T5DISTILL_REAL_DATA")
needs_real_data = pytest.mark.skipif(not REAL, reason="T5DISTILL_REAL_DATA is not set")

FIXED = [
    "",
    " ",
    "  ",
    "\n",
    "\n\n \n",
    " leading",
    "trailing ",
    "two  spaces and   three and    four and     five",
    "a\n b\n  c\n   d\n    e\n     f\n        g",
    "a \n b",
    "tab\there, NBSP\u00a0here, zero\u200bwidth, line\u2028separator, CR\r\nLF",
    "<<48/2=24>>24 and <<< >>> < > <= >= <<>>",
    'print(f"{x:>10}\\n") if a < b else {"k": [1, 2]}',
    "2^3 ~ `x` 3 × 4 ÷ 2 − 1 = √16 π",
    "½ cup, 5 m², 1⁄2, ﬁne, ① … ™ ａｂｃ",
    "®174; ®0; ®; ®®1; • ′ « » у а и н к т м о в „ с р л",
    "▁ <extra_id_0> </s> <pad> <unk> ⁇",
    "日本語 Привет हिन्दी 🎉👩‍👩‍👧",
    "e\u0301 and é, \u0301alone",
    "\x00\x01\x7f\x85\ufeff\ufffd\uffff\U0010ffff",
    "A: Let's think step by step.",
]

# Characters and fragments on which the rules act, mixed with anything at all.
spelled = st.text(st.sampled_from(list(" \n•у′«»а®;0123456789<>{}\\^ab½")), max_size=20)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
texts = st.lists(spelled | any_text, max_size=4).map("".join)


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    return SentencePieceVocabulary(standin_vocabulary(tmp_path_factory.mktemp("v") / "s.model"))


@pytest.fixture(scope="session")
def real():
    if not REAL:
        pytest.skip("T5DISTILL_REAL_DATA is not set")
    return SentencePieceVocabulary(pathlib.Path(REAL) / "t5_vocab" / "spiece.model")


@pytest.mark.parametrize("text", FIXED)
def test_fixed_texts_survive_the_standin(standin, text):
    assert standin.decode(standin.encode(text)) == text


@hypothesis.given(texts)
@hypothesis.settings(deadline=None, max_examples=300)
def test_any_text_survives_the_standin(standin, text):
    assert standin.decode(standin.encode(text)) == text
    assert 2 not in standin.encode(text)


@needs_real_data
@hypothesis.given(texts)
@hypothesis.settings(deadline=None, max_examples=300)
def test_any_text_survives_the_real_vocabulary(real, text):
    assert real.decode(real.encode(text)) == text
    assert 2 not in real.encode(text)


@pytest.mark.parametrize("text", FIXED)
def test_fixed_texts_survive_the_real_vocabulary(real, text):
    assert real.decode(real.encode(text)) == text


@hypothesis.given(texts)
def test_decode_accepts_anything_and_spelling_holds_only_the_alphabet(text):
    codec.decode(text)
    spelling = codec.encode(text)
    assert "  " not in spelling and spelling == spelling.strip(" ")
    foreign = re.compile(codec.T5.foreign)
    assert all(c in codec.T5.stand_ins or not foreign.match(c) for c in spelling)


@pytest.mark.parametrize(
    ("malformed", "text"),
    [
        ("®", "®"),
        ("®;", "®;"),
        ("®12", "®12"),
        ("®012;", "®012;"),
        ("®1114112;", "®1114112;"),
        ("®55296;", "®55296;"),
        # A digit is never escaped, so this is no way to spell one.
        ("®49;", "®49;"),
        ("®®189;", "®½"),
        ("•  x", "\n x"),
    ],
)
def test_malformed_escapes_stay_as_they_are(malformed, text):
    assert codec.decode(malformed) == text


def test_common_text_is_left_alone():
    for text in (
        "Natalia sold 48/2 = 24 clips in May. Isn't that $1,000 (or 25%)?",
        "def f(x): return [x * 2, x - 1] # 3 > 2",
        "Q: Which? Options: (A) yes (B) no",
    ):
        assert codec.encode(text) == text


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert codec.decode(codec.encode("a\ud800b")) == "a\ufffdb"


@hypothesis.given(texts)
def test_the_multilingual_codec_keeps_text_in_form_c(text):
    text = unicodedata.normalize("NFC", text)
    spelling = codec.multilingual().encode(text)
    assert codec.multilingual().decode(spelling) == text
    assert unicodedata.normalize("NFKC", spelling) == spelling


def test_the_multilingual_codec_leaves_scripts_alone():
    for text in ("日本語のテキスト", "Привет, мир", "สวัสดีครับ", "नमस्ते {x} < ^"):
        assert codec.multilingual().encode(text) == text


def test_the_standin_has_the_gaps_of_t5(standin):
    model = sentencepiece.SentencePieceProcessor(model_file=standin._path)
    assert (model.pad_id(), model.eos_id(), model.unk_id(), model.bos_id()) == (0, 1, 2, -1)
    for gap in "<{}\\^~`×÷−√π":
        assert model.PieceToId(gap) == 2
    assert model.decode(model.encode("a  b\nc")) == "a b c"


@needs_real_data
def test_the_standin_normalizes_like_t5(standin, real):
    from sentencepiece import sentencepiece_model_pb2

    specs = []
    for vocabulary in (standin, real):
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(pathlib.Path(vocabulary._path).read_bytes())
        spec = model.normalizer_spec
        flags = (spec.add_dummy_prefix, spec.remove_extra_whitespaces, spec.escape_whitespaces)
        specs.append((spec.name, *flags))
    assert specs[0] == specs[1]


def real_rows(*parts):
    with open(pathlib.Path(REAL, *parts), encoding="utf-8", newline="\n") as f:
        return [json.loads(line) for line in f]


@needs_real_data
def test_every_real_program_and_every_gsm8k_text_survives_both_vocabularies(standin, real):
    programs = [
        row["completion"]
        for row in real_rows("codex_chains", "GSM8K", "code002_noNL.predictions.jsonl")
    ]
    assert len(programs) == 1319
    generated = [
        text
        for row in real_rows("programs", "gsm8K_s0_e-1_11_17_10_20.jsonl")
        for text in row.get("generated", [])
    ]
    assert len(generated) >= 1318
    texts = []
    for split, count in (("train", 7473), ("test", 1319)):
        rows = real_rows("gsm8k", f"{split}.jsonl")
        assert len(rows) == count
        texts += [text for row in rows for text in (row["question"], row["answer"])]
    for text in [*programs, *generated, *texts]:
        assert real.decode(real.encode(text)) == text
        assert standin.decode(standin.encode(text)) == text


@needs_real_data
def test_programs_and_solutions_stay_short(real):
    solutions = [row["answer"] for row in real_rows("gsm8k", "test.jsonl")]
    programs = [
        row["completion"]
        for row in real_rows("codex_chains", "GSM8K", "code002_noNL.predictions.jsonl")
    ]
    # Against the bare model, which loses newlines and writes "<<" as two unknowns.
    for texts, most in ((solutions, 1.0), (programs, 1.09)):
        bare = sum(len(real._processor.EncodeAsIds(text)) for text in texts)
        assert sum(len(real.encode(text)) for text in texts) <= most * bare
