"""The vocabularies without TensorFlow, and training one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.formats import vocabulary
from t5distill.formats.standin import SENTENCES, standin_vocabulary
from t5distill.formats.train_vocabulary import alphabet, train_sentencepiece


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return standin_vocabulary(tmp_path_factory.mktemp("v") / "s.model")


def test_bytes():
    v = vocabulary.load("byt5")
    assert v.vocab_size == 359 and v.encode("aé") == [100, 198, 172]
    assert v.decode([0, 100, 198, 172, 300, 1, 100]) == "aé"
    assert v.decode([198]) == "" and v.piece(100) == "a" and v.piece(1) == "<1>"


def test_decode_stops_at_the_end_and_drops_pad_and_sentinels(model):
    v = vocabulary.load("t5", model)
    ids = v.encode("two  words")
    size = v.vocab_size
    assert v.decode([0, *ids, size - 1, size - 100, 1, *ids]) == "two  words"
    assert v.decode(np.array([*ids, 1, 0, 0], np.int32)) == "two  words"
    assert v.decode([size + 20]).strip() == "⁇" and v.decode([-1]).strip() == "⁇"
    assert v.decode([]) == "" and v.piece(1) == "</s>" and v.piece(size) == f"<{size}>"


def test_the_model_file_comes_from_the_environment(model, monkeypatch):
    monkeypatch.setenv("T5DISTILL_T5_VOCAB", str(model))
    assert vocabulary.load("t5").decode(vocabulary.load("t5").encode("a\nb")) == "a\nb"
    monkeypatch.delenv("T5DISTILL_T5_VOCAB")
    with pytest.raises(UserError, match="T5DISTILL_T5_VOCAB"):
        vocabulary.load("t5")
    vocabulary.use_model_file("t5", None)
    vocabulary.use_model_file("byt5", model)
    assert "T5DISTILL_T5_VOCAB" not in os.environ
    vocabulary.use_model_file("t5", model)
    assert vocabulary.model_file("t5") == str(model)
    monkeypatch.delenv("T5DISTILL_T5_VOCAB")
    monkeypatch.setenv("T5DISTILL_MT5_VOCAB", str(model))
    assert isinstance(vocabulary.load("mt5"), vocabulary.SentencePieceVocabulary)


def test_wrong_models_are_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="wanted one of t5, byt5, mt5"):
        vocabulary.load("bert")
    (tmp_path / "x.model").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot read"):
        vocabulary.load("t5", tmp_path / "x.model")


def test_training_is_deterministic_and_holds_the_alphabet(tmp_path):
    first, second = (
        train_sentencepiece(SENTENCES * 4, tmp_path / name, vocab_size=300, split_digits=True)
        for name in ("a.model", "b.model")
    )
    assert first.read_bytes() == second.read_bytes()
    v = vocabulary.load("t5", first)
    assert all(2 not in v.encode(character) for character in alphabet())
    digits = [v.piece(i) for i in v.encode("in 1234")]
    assert digits[-4:] == ["1", "2", "3", "4"]


def test_a_vocabulary_trained_again_is_read_again(tmp_path):
    path = train_sentencepiece(SENTENCES, tmp_path / "v.model", vocab_size=160, split_digits=True)
    before = vocabulary.load("t5", path).vocab_size
    train_sentencepiece(SENTENCES * 4, path, vocab_size=250, split_digits=True)
    assert vocabulary.load("t5", path).vocab_size > before


def test_training_refuses_no_text_and_too_few_pieces(tmp_path):
    with pytest.raises(UserError, match="no text"):
        train_sentencepiece([], tmp_path / "v", vocab_size=400, split_digits=True)
    with pytest.raises(UserError, match="wanted at least"):
        train_sentencepiece(["a"], tmp_path / "v", vocab_size=50, split_digits=True)
    assert list(tmp_path.iterdir()) == []


def test_formats_needs_no_tensorflow():
    code = (
        "import sys; import t5distill.formats.vocabulary as v; v.load('byt5');"
        "assert not {'tensorflow', 'seqio', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
