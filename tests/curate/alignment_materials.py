"""What the tests of the alignment share: vocabularies, and chains with probabilities."""

import importlib
import json
import math
import os
import pathlib

import pytest

from t5distill.formats import codec
from t5distill.formats.train_vocabulary import alphabet
from t5distill.formats.vocabulary import SentencePieceVocabulary
from t5distill.records import Chain

REAL = os.environ.get("T5DISTILL_REAL_DATA")
needs_real_data = pytest.mark.skipif(not REAL, reason="T5DISTILL_REAL_DATA is not set")

model_pb2 = importlib.import_module("sentencepiece.sentencepiece_model_pb2")

WORDS = ["▁If", "▁The", "▁She", "▁sold", "▁sell", "▁clip", "▁clips", "▁Nat", "alia", "/2", "▁48"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


class NoCodec(codec.Codec):
    """Leaves text as it is, as Fu et al. gave it to T5's tokenizer."""

    def encode(self, text):
        return text

    def decode(self, text):
        return text

    def plain_ends(self, spelled, ends):
        return ends


NO_CODEC = NoCodec(kept="", newline="", indent="", space="", marks=(), escape="")


def model(path, words, *, letters, with_bytes=False):
    """Write a SentencePiece model of just these pieces; fewer pieces are always likelier."""
    proto = model_pb2.ModelProto()
    piece = proto.SentencePiece
    proto.pieces.add(piece="<pad>", score=0, type=piece.CONTROL)
    proto.pieces.add(piece="</s>", score=0, type=piece.CONTROL)
    proto.pieces.add(piece="<unk>", score=0, type=piece.UNKNOWN)
    for byte in BYTES if with_bytes else ():
        proto.pieces.add(piece=byte, score=0, type=piece.BYTE)
    for text in dict.fromkeys([*words, *letters, "▁"]):
        proto.pieces.add(piece=text, score=-1.0)
    proto.trainer_spec.model_type = proto.trainer_spec.UNIGRAM
    proto.trainer_spec.pad_id, proto.trainer_spec.eos_id, proto.trainer_spec.unk_id = 0, 1, 2
    proto.trainer_spec.bos_id = -1
    proto.trainer_spec.byte_fallback = with_bytes
    path.write_bytes(proto.SerializeToString())
    return path


def letters():
    """Return every character of T5's codec, so that the codec can spell any text."""
    return alphabet()


def small(folder):
    return SentencePieceVocabulary(model(folder / "small.model", WORDS, letters=letters()))


def like_mt5(folder):
    path = model(folder / "bytes.model", WORDS, letters="abcdefg•¶¬®;0123456789", with_bytes=True)
    return SentencePieceVocabulary(path, spelling=codec.multilingual())


def log(p):
    return math.log(p) if p > 0 else -math.inf


def chain(tokens, text=None, **meta):
    """Return a chain of pairs of a token and its alternatives with probabilities."""
    found = [{"text": token, "top": [[other, log(p)] for other, p in top]} for token, top in tokens]
    return Chain(
        problem_id="p1",
        style="cot",
        text="".join(token for token, _ in tokens).strip() if text is None else text,
        teacher="somebody",
        meta={**meta, "tokens": found},
    )


def codex_chains():
    """Return the 3 + 50 chains of code-davinci-002, without what is left over from the prompt."""
    if not REAL:
        pytest.skip("T5DISTILL_REAL_DATA is not set")
    folder = pathlib.Path(REAL) / "codex_logprobs"
    single = ("0_0", "1_0", "32_44")
    read = [json.loads((folder / f"codex_per_step_probs_{n}.json").read_text()) for n in single]
    read += json.loads((folder / "codex_per_step_probs_sample.json").read_text())
    return [chain([(step[0][0], step) for step in steps[2:]]) for steps in read]


def codex_published():
    """Return the published alignment of the first of them: a dict of pieces for each token."""
    path = pathlib.Path(str(REAL)) / "codex_logprobs" / "transformed_step_probs_0_0.json"
    return json.loads(path.read_text())


def real_t5(spelling=codec.T5):
    if not REAL:
        pytest.skip("T5DISTILL_REAL_DATA is not set")
    return SentencePieceVocabulary(
        pathlib.Path(REAL) / "t5_vocab" / "spiece.model", spelling=spelling
    )


def table(vocabulary, found):
    """Return soft targets as a dict of pieces for each token."""
    return [
        {vocabulary.piece(int(i)): float(p) for i, p in zip(*row, strict=True) if p > 0}
        for row in zip(found.ids, found.probabilities, strict=True)
    ]
