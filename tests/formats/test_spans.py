"""Where each id of a text ends in it."""

import itertools
import json
import os
import pathlib

import hypothesis
import pytest
import sentencepiece
from hypothesis import strategies as st

from t5distill.formats import codec
from t5distill.formats.standin import SENTENCES, standin_vocabulary
from t5distill.formats.vocabulary import ByteVocabulary, SentencePieceVocabulary

REAL = os.environ.get("T5DISTILL_REAL_DATA")
FIXED = ["", " ", "\n", "    x", "a <<b>> c", "½ cup", "x\n y\n\n  z ", "®174; • ′ « у", "🎉é✓"]

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
spelled = st.text(st.sampled_from(list(" \n•у′«»а®;0123456789<>{}\\^ab½")), max_size=20)
texts = st.lists(spelled | any_text, max_size=4).map("".join)


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v")
    found = [SentencePieceVocabulary(standin_vocabulary(folder / "s.model")), ByteVocabulary()]
    with open(folder / "bytes.model", "wb") as model:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([codec.multilingual().encode(text) for text in SENTENCES]),
            model_writer=model,
            vocab_size=400,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="nmt_nfkc",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    path = folder / "bytes.model"
    found.append(SentencePieceVocabulary(path, spelling=codec.multilingual()))
    if REAL:
        found.append(SentencePieceVocabulary(pathlib.Path(REAL) / "t5_vocab" / "spiece.model"))
    return found


def check(vocabulary, text):
    ids, ends = vocabulary.spans(text)
    assert ids == vocabulary.encode(text)
    assert len(ends) == len(ids) and ends == sorted(ends)
    assert ends[-1:] == ([len(text)] if text else [])
    for j, (begin, end) in enumerate(itertools.pairwise([0, *ends])):
        # An empty id ends inside of an escape, or of a character's bytes.
        if begin < end:
            assert vocabulary.decode(ids[: j + 1]) == text[:end], (text, j)


@pytest.mark.parametrize("text", FIXED)
def test_fixed(vocabularies, text):
    for vocabulary in vocabularies:
        check(vocabulary, text)


@hypothesis.given(texts)
def test_any_text_is_tiled(vocabularies, text):
    # mT5's codec brings back text in normal form C only (see `codec.multilingual`).
    for vocabulary in vocabularies:
        if vocabulary.decode(vocabulary.encode(text)) == text:
            check(vocabulary, text)
        else:
            ids, ends = vocabulary.spans(text)
            assert ids == vocabulary.encode(text) and ends[-1:] == [len(text)]


def test_what_each_id_covers(vocabularies):
    standin, by_bytes, *_ = vocabularies
    ids, ends = by_bytes.spans("aé✓\n")
    assert ends == [1, 1, 2, 2, 2, 3, 4] and ids == by_bytes.encode("aé✓\n")
    text = "x\n✓y"
    ids, ends = standin.spans(text)
    pieces = [standin.piece(i) for i in ids]
    covered = {}
    for piece, (begin, end) in zip(pieces, itertools.pairwise([0, *ends]), strict=True):
        covered.setdefault(text[begin:end], []).append(piece)
    assert covered["\n"] == ["•"] and covered["✓"] == [";"]


def test_a_text_that_the_normalizer_changes(tmp_path):
    class NoCodec(codec.Codec):
        def encode(self, text):
            return text

        def plain_ends(self, spelled, ends):
            return ends

    vocabulary = SentencePieceVocabulary(
        standin_vocabulary(tmp_path / "s.model"),
        spelling=NoCodec(kept="", newline="", indent="", space="", marks=(), escape=""),
    )
    ids, ends = vocabulary.spans("½ a\nb")
    assert ends[-1] == 5 and ends == sorted(ends) and len(ids) == len(ends)
    with pytest.raises(ValueError, match="lost a part"):
        vocabulary.spans("a  ")


def test_offsets_of_the_codec():
    spelled = codec.T5.encode("a\nb    c<<½")
    assert spelled == "a• bу c«®189;"
    ends = list(range(len(spelled) + 1))
    #                                a  •  _  b  у  _  c  «   ®  1  8  9  ;
    assert codec.T5.plain_ends(spelled, ends) == [0, 1, 2, 2, 3, 7, 7, 8, 10, 10, 10, 10, 10, 11]
    assert codec.T5.plain_ends(spelled, [2, 9, 13]) == [2, 10, 11]
    assert codec.T5.plain_ends("", []) == []


@pytest.mark.skipif(not REAL, reason="T5DISTILL_REAL_DATA is not set")
def test_real_programs_and_chains(vocabularies):
    folder = pathlib.Path(str(REAL))
    texts = []
    for path in sorted((folder / "programs").glob("*")) + sorted(
        (folder / "codex_chains").rglob("*COT*.jsonl")
    ):
        if path.suffix not in (".jsonl", ".json"):
            continue
        for line in path.read_text(encoding="utf-8").split("\n")[:200]:
            if line.strip().startswith("{") and line.strip().endswith("}"):
                row = json.loads(line)
                texts += [v for v in row.values() if isinstance(v, str) and len(v) > 20]
    assert len(texts) > 200
    for text in texts[::7]:
        for vocabulary in vocabularies:
            if vocabulary.decode(vocabulary.encode(text)) == text:
                check(vocabulary, text)
