"""The vocabulary for `transformers`: SentencePiece and our codec as one tokenizer.json.

A tokenizer.json is a list of steps that the `tokenizers` library takes; the codec's rules
(`formats.codec`) become replacements before and after SentencePiece's own, so that plain text goes
in and comes out without t5distill. A replacement writes a constant: an escape, which spells a
character's code point, needs one for each character. Those of European scripts, punctuation,
currencies, letters and signs of mathematics have it (`ESCAPED`); any other that the vocabulary
lacks, an emoji say, is the unknown piece there.
"""

from __future__ import annotations

import base64
import os
import re
from typing import Any

from t5distill.errors import UserError
from t5distill.formats import codec, vocabulary

# Code points: ASCII's controls to Latin Extended, Greek to Cyrillic, punctuation to mathematics.
ESCAPED = (range(0x00, 0x250), range(0x370, 0x500), range(0x2000, 0x2300))
_SENTINELS = 100
_METASPACE = {"replacement": "▁", "prepend_scheme": "always", "split": True}


def tokenizer_files(
    path: str | os.PathLike[str], *, kind: str, length: int
) -> dict[str, dict[str, Any]]:
    """Return the JSON files that `transformers.AutoTokenizer` needs beside the SentencePiece model.

    Args:
      path: the SentencePiece model.
      kind: `t5` or `mt5`, which says the codec.
      length: how many tokens the student reads at most.

    Raises:
      UserError: the model is of another kind than unigrams or byte pairs.
    """
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        # Without it transformers 4 makes token types, which T5 has none of.
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": length,
        "clean_up_tokenization_spaces": False,
        **special,
    }
    return {
        "tokenizer.json": tokenizer_json(path, vocabulary.spelling(kind)),
        "tokenizer_config.json": settings,
        "special_tokens_map.json": special,
    }


def byte_tokenizer_files(length: int) -> dict[str, dict[str, Any]]:
    """Return the same for ByT5, whose tokenizer has no vocabulary file."""
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    settings = {
        "tokenizer_class": "ByT5Tokenizer",
        "extra_ids": 125,
        "model_max_length": length,
        **special,
    }
    return {"tokenizer_config.json": settings, "special_tokens_map.json": special}


def tokenizer_json(path: str | os.PathLike[str], spelling: codec.Codec) -> dict[str, Any]:
    """Return a tokenizer.json that reads and writes what `vocabulary.load` does.

    Raises:
      UserError: the model is of another kind than unigrams or byte pairs.
    """
    from sentencepiece import sentencepiece_model_pb2

    model: Any = sentencepiece_model_pb2.ModelProto()  # pyright: ignore
    with open(path, "rb") as f:
        model.ParseFromString(f.read())
    if (make := _MODELS.get(model.trainer_spec.model_type)) is None:
        raise UserError(f"{path}: neither a unigram nor a byte-pair model, as wanted here")
    pieces = [[piece.piece, piece.score] for piece in model.pieces]
    special = {0: "<pad>", 1: "</s>", 2: "<unk>"}
    special |= {len(pieces) + i: f"<extra_id_{_SENTINELS - 1 - i}>" for i in range(_SENTINELS)}
    pieces += [[name, 0.0] for i, name in special.items() if i > 2]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(i, name) for i, name in special.items()],
        "normalizer": _normalizer(spelling, model.normalizer_spec.precompiled_charsmap),
        "pre_tokenizer": {"type": "Metaspace", **_METASPACE},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": _ended("A"),
            "pair": _ended("A", "B"),
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": _decoder(spelling),
        "model": {**make(pieces), "byte_fallback": bool(model.trainer_spec.byte_fallback)},
    }


def _special(i: int, name: str) -> dict[str, Any]:
    strips = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": i, "content": name, **strips, "special": True}


def _normalizer(spelling: codec.Codec, charsmap: bytes) -> dict[str, Any]:
    """Return what turns plain text into the vocabulary's characters: our codec, then NFKC."""
    encoded = base64.b64encode(charsmap).decode("ascii")
    nfkc = {"type": "Precompiled", "precompiled_charsmap": encoded}
    return {
        "type": "Sequence",
        "normalizers": [
            *_escapes(spelling),
            *(_step(rule) for rule in (*spelling.mark_rules, *spelling.space_rules)),
            *([nfkc] if charsmap else []),
            _replaced({"Regex": " {2,}"}, " "),
            {"type": "Strip", "strip_left": True, "strip_right": True},
        ],
    }


def _decoder(spelling: codec.Codec) -> dict[str, Any]:
    """Return the way back."""
    return {
        "type": "Sequence",
        "decoders": [
            {"type": "Metaspace", **_METASPACE},
            {"type": "Fuse"},
            _replaced({"Regex": r"\A +"}, ""),
            *(_step(rule) for rule in spelling.decode_rules),
            *_unescapes(spelling),
        ],
    }


def _ended(*names: str) -> list[dict[str, Any]]:
    """Return texts with an end of sequence behind each."""
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    return [x for name in names for x in ({"Sequence": {"id": name, "type_id": 0}}, end)]


def _unigram(pieces: list[list[Any]]) -> dict[str, Any]:
    return {"type": "Unigram", "unk_id": 2, "vocab": pieces}


def _byte_pairs(pieces: list[list[Any]]) -> dict[str, Any]:
    """Return a byte-pair model: SentencePiece joins whatever gives the piece of the best score."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    found = [
        (-score, ids[piece[:i]], piece[:i], piece[i:])
        for piece, score in pieces[3:]
        for i in range(1, len(piece))
        if piece[:i] in ids and piece[i:] in ids
    ]
    return {
        "type": "BPE",
        "vocab": ids,
        "merges": [[left, right] for *_, left, right in sorted(found)],
        "unk_token": "<unk>",
        "fuse_unk": True,
    }


# By SentencePiece's number: T5's own is of the first kind, those that we train of the second.
_MODELS = {1: _unigram, 2: _byte_pairs}


def _escapable(spelling: codec.Codec) -> list[str]:
    """Return the characters that get an escape, the one that opens escapes first."""
    foreign = re.compile(spelling.foreign)
    codes = [c for block in ESCAPED for c in block if foreign.fullmatch(chr(c))]
    return sorted(map(chr, codes), key=lambda c: c != spelling.escape)


def _escapes(spelling: codec.Codec) -> list[dict[str, Any]]:
    # The opening character comes first, or it would escape the other escapes.
    return [_replaced({"String": c}, spelling.escaped(c)) for c in _escapable(spelling)]


def _unescapes(spelling: codec.Codec) -> list[dict[str, Any]]:
    # It comes last here: what it opens is not read again.
    found = reversed(_escapable(spelling))
    return [_replaced({"String": spelling.escaped(c)}, c) for c in found]


def _step(rule: codec.Rule) -> dict[str, Any]:
    if rule.where == codec.ANY:
        return _replaced({"String": rule.old}, rule.new)
    old = re.escape(rule.old).replace("\\ ", " ")
    return _replaced({"Regex": rf"\A{old}" if rule.where == codec.START else rf"{old}\z"}, rule.new)


def _replaced(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}
