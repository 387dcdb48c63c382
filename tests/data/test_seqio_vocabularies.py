"""The SeqIO vocabularies against their twins and the codec, in Python and in TensorFlow."""

import copy
import os
import pathlib
import pickle
import random

import hypothesis
import pytest
import seqio
import tensorflow as tf
from hypothesis import strategies as st

from t5distill.data import codec_ops
from t5distill.data.vocabularies import CodecSentencePieceVocabulary, vocabulary
from t5distill.errors import UserError
from t5distill.formats import codec
from t5distill.formats import vocabulary as plain

REAL = os.environ.get("T5DISTILL_REAL_DATA")

spelled = st.text(st.sampled_from(list(" \n•у′«»а®;0123456789<>{}\\^ab½")), max_size=16)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=16)
texts = st.lists(spelled | any_text, max_size=3).map("".join)

FIXED = ["", " ", "\n  a  \n", "<<1+1=2>>2", "½ × {x} \\ ®", "®®189;", "\x00\ufeff🎉", "®49;®9;"]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def encode_ops(text):
    return codec_ops.encode(codec.T5, text)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def decode_ops(text):
    return codec_ops.decode(codec.T5, text)


@hypothesis.given(st.lists(texts, min_size=1, max_size=20))
@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.example(FIXED)
def test_codec_operations_equal_the_codec(batch):
    encoded, decoded = encode_ops(tf.constant(batch)), decode_ops(tf.constant(batch))
    assert [t.decode() for t in encoded.numpy()] == [codec.encode(t) for t in batch]
    assert [t.decode() for t in decoded.numpy()] == [codec.decode(t) for t in batch]


def test_the_multilingual_codec_works_as_operations():
    batch = [*FIXED, "नमस्ते สวัสดี Привет « » „a“ m²"]
    encoded = codec_ops.encode(codec.multilingual(), tf.constant(batch))
    assert [t.decode() for t in encoded.numpy()] == [codec.multilingual().encode(t) for t in batch]
    decoded = codec_ops.decode(codec.multilingual(), encoded)
    assert [t.decode() for t in decoded.numpy()] == batch


def check_twins(ours, twin, batch):
    assert ours.vocab_size == twin.vocab_size
    assert (ours.pad_id, ours.eos_id, ours.unk_id) == (0, 1, 2)
    encode = tf.function(ours.encode_tf, input_signature=[tf.TensorSpec([], tf.string)])
    for text in batch:
        ids = twin.encode(text)
        assert list(ours.encode(text)) == ids
        assert encode(tf.constant(text)).numpy().tolist() == ids
        assert ours.decode([*ids, 1, 5, 0]) == twin.decode([*ids, 1, 5, 0]) == text
    draw = random.Random(0)
    outputs = [[draw.randrange(twin.vocab_size) for _ in range(12)] for _ in range(200)]
    decoded = ours.decode_tf(tf.constant(outputs)).numpy()
    for ids, by_operations in zip(outputs, decoded, strict=True):
        assert ours.decode(ids) == twin.decode(ids) == by_operations.decode()


def test_sentencepiece_equals_its_twin():
    check_twins(vocabulary("t5"), plain.load("t5"), FIXED)


@pytest.mark.skipif(not REAL, reason="T5DISTILL_REAL_DATA is not set")
def test_the_real_vocabulary_equals_its_twin():
    path = str(pathlib.Path(str(REAL)) / "t5_vocab" / "spiece.model")
    ours = vocabulary("t5", path)
    check_twins(ours, plain.load("t5", path), FIXED)
    bare = seqio.SentencePieceVocabulary(path, extra_ids=100)
    text = "Natalia sold 48/2 = 24 clips in May."
    assert list(ours.encode(text)) == list(bare.encode(text))
    assert ours.decode([32110, 32099, *bare.encode("a")]) == plain.load("t5", path).decode(
        [32110, 32099, *bare.encode("a")]
    )


def test_bytes_equal_their_twin():
    check_twins(vocabulary("byt5"), plain.load("byt5"), FIXED)


def test_one_object_for_task_and_model(prepared, monkeypatch):
    ours = vocabulary("t5")
    assert ours is vocabulary("t5")
    assert ours == vocabulary("t5", prepared / "standin.model")
    assert ours == copy.deepcopy(ours) == pickle.loads(pickle.dumps(ours))
    assert ours != vocabulary("mt5") and ours != vocabulary("byt5")
    monkeypatch.setenv("T5DISTILL_T5_VOCAB", "/nowhere.model")
    assert ours != vocabulary("t5", prepared / "standin.model")


def test_the_file_is_looked_up_when_it_is_needed(prepared, monkeypatch):
    monkeypatch.setenv("T5DISTILL_T5_VOCAB", "/nowhere.model")
    fresh = CodecSentencePieceVocabulary("t5")
    with pytest.raises(UserError, match=r"nowhere\.model.*T5DISTILL_T5_VOCAB"):
        fresh.encode("a")
    monkeypatch.setenv("T5DISTILL_T5_VOCAB", str(prepared / "standin.model"))
    assert fresh.decode(fresh.encode("a  b")) == "a  b"
    assert "standin.model" in str(fresh)


def test_unknown_vocabularies_are_refused():
    with pytest.raises(UserError, match="wanted one of t5, byt5, mt5"):
        vocabulary("bert")
