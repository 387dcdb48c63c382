"""tokenizer.json against our own vocabulary: the same ids, and the same text back."""

import json
import os
import pathlib

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from t5distill.errors import UserError
from t5distill.export.tokenizer import ESCAPED, tokenizer_files, tokenizer_json
from t5distill.formats import codec, vocabulary
from t5distill.formats.standin import SENTENCES, standin_vocabulary
from t5distill.formats.train_vocabulary import alphabet

REAL = os.environ.get("T5DISTILL_REAL_DATA")
TEXTS = (
    *SENTENCES,
    *(
        "",
        " ",
        "   ",
        "\n",
        "\n\n",
        "\t",
        "  lead",
        "trail ",
        "a  b   c    d     e",
        "\n a \n  b\n",
    ),
    "½ cup ² ® ®174; ®8364; × ÷ − √ π ~ ^ \\ ` < > << 3*4=12>> € £5",
    "naïve Ünïcödé — “quoted” ’s … Привет αβγ у и н a • b a •b",
    "x = {1: [2, 3]}\nif x:\n    print(f'{x}')  # <b>\n\n\n        y = 2**3\n",
    "\x00\x01 \x7f \N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}\N{LINE SEPARATOR}\N{SOFT HYPHEN}",
)
CHARACTERS = st.one_of(
    st.sampled_from([chr(c) for block in ESCAPED for c in block]),
    st.sampled_from(list(" \n  \t®;174•у′«»аинктмовср„л<>{}\\^~`×÷−√π")),
)


@pytest.fixture(scope="module")
def unigram(tmp_path_factory):
    """A vocabulary of T5's kind."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("unigram")
    text = [codec.encode(sentence) for sentence in SENTENCES * 4]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_prefix=str(folder / "spiece"),
        model_type="unigram",
        vocab_size=400,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars=alphabet(),
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return folder / "spiece.model"


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory):
    """A vocabulary such as the quickstart trains."""
    return standin_vocabulary(tmp_path_factory.mktemp("bpe") / "spiece.model")


@pytest.fixture(scope="module", params=["unigram", "byte_pairs", "t5"])
def pair(request):
    """Our vocabulary and the tokenizer of its tokenizer.json."""
    if request.param == "t5":
        if not REAL:
            pytest.skip("T5DISTILL_REAL_DATA is not set")
        path = pathlib.Path(REAL, "t5_vocab/spiece.model")
    else:
        path = request.getfixturevalue(request.param)
    content = json.dumps(tokenizer_json(path, codec.T5), ensure_ascii=False)
    return vocabulary.load("t5", path), tokenizers.Tokenizer.from_str(content)


def assert_same(pair, text):
    ours, theirs = pair
    ids = theirs.encode(text).ids
    assert ids == [*ours.encode(text), 1], text
    if 2 not in ids:
        assert theirs.decode(ids) == ours.decode(ids) == text


@pytest.mark.parametrize("text", TEXTS)
def test_texts(pair, text):
    assert_same(pair, text)


@settings(max_examples=150, deadline=None)
@given(text=st.text(CHARACTERS, max_size=40))
def test_any_text_of_the_characters_that_are_escaped(pair, text):
    assert_same(pair, text)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_student_writes(pair, data):
    ours, theirs = pair
    pieces = st.integers(3, ours.vocab_size - 101)
    ids = data.draw(st.lists(pieces, max_size=30))
    assert theirs.decode(ids) == ours.decode(ids)


def test_real_programs_and_chains(pair):
    if not REAL:
        pytest.skip("T5DISTILL_REAL_DATA is not set")
    for folder in ("programs", "gsm8k"):
        for path in sorted(pathlib.Path(REAL, folder).rglob("*.json*"))[:4]:
            text = path.read_text(encoding="utf-8")[:40_000]
            for i in range(0, len(text), 500):
                assert_same(pair, text[i : i + 500])


def test_what_has_no_escape_is_unknown(pair):
    ours, theirs = pair
    assert 2 in theirs.encode("\N{GRINNING FACE}").ids
    assert ours.decode(ours.encode("\N{GRINNING FACE}")) == "\N{GRINNING FACE}"


def test_special_ids(pair):
    ours, theirs = pair
    assert [theirs.token_to_id(t) for t in ("<pad>", "</s>", "<unk>")] == [0, 1, 2]
    assert theirs.get_vocab_size() == ours.vocab_size
    # T5 counts its sentinels down.
    assert theirs.token_to_id("<extra_id_0>") == ours.vocab_size - 1
    assert theirs.decode([0, 5, 1, ours.vocab_size - 3]) == ours.decode([5])


def test_models_of_other_kinds_are_refused(tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"] * 9),
        model_prefix=str(tmp_path / "spiece"),
        model_type="char",
        vocab_size=7,
        minloglevel=2,
    )
    with pytest.raises(UserError, match="neither a unigram nor a byte-pair model"):
        tokenizer_files(tmp_path / "spiece.model", kind="t5", length=9)
