"""The vocabularies without TensorFlow: the same ids as the SeqIO ones of `data.vocabularies`.

Importing seqio takes seconds, and a served student has no need of it.
"""

from __future__ import annotations

import functools
import itertools
import operator
import os
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from t5distill import places
from t5distill.errors import UserError, suggest
from t5distill.formats import codec

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2

# The name of the SentencePiece model beside a checkpoint, ours or Hugging Face's.
SAVED_MODEL = "spiece.model"
# The variable that names a vocabulary's SentencePiece model, and where the public one lies.
MODEL_FILES = {
    "t5": ("T5DISTILL_T5_VOCAB", "gs://t5-data/vocabs/cc_all.32000.100extra/sentencepiece.model"),
    "mt5": ("T5DISTILL_MT5_VOCAB", "gs://t5-data/vocabs/mc4.250000.100extra/sentencepiece.model"),
}
VOCABULARIES = ("t5", "byt5", "mt5")


class SentencePieceVocabulary:
    """A SentencePiece model with the codec around it and T5's sentinels behind it.

    Plain text goes in and comes out. Of the ids, sentinels and pad decode to nothing, and ids past
    the sentinels, which a padded embedding has, to the unknown piece, " ⁇ ".
    """

    pad_id, eos_id, unk_id = PAD_ID, EOS_ID, UNK_ID

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        extra_ids: int = 100,
        spelling: codec.Codec = codec.T5,
    ):
        """Load the model at `path`; raise UserError where it is none of T5's make."""
        self._path = os.fspath(path)
        self._processor = _load_model(self._path, _stamp(self._path))
        self._pieces = self._processor.GetPieceSize()
        self._extra_ids = extra_ids
        self._codec = spelling

    @property
    def vocab_size(self) -> int:
        """The number of ids, sentinels included; embeddings are usually padded beyond it."""
        return self._pieces + self._extra_ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without an end of sequence."""
        return self._processor.EncodeAsIds(self._codec.encode(text))

    def spans(self, text: str) -> tuple[list[int], list[int]]:
        """Return the ids of `text` and where in it each one ends, in characters.

        An id begins where the one before it ends, so that they tile the text. Of several ids that
        spell one character the last completes it; the others are empty.

        Raises:
          ValueError: the tokenizer lost a part of the text.
        """
        spelled = self._codec.encode(text)
        ids = self._processor.EncodeAsIds(spelled)
        pieces = [self._piece_texts[i] for i in ids]
        # A piece's "▁" is a space; the first has one that the tokenizer put there.
        if "".join(pieces).replace("▁", " ") == (" " + spelled if spelled else ""):
            ends = [end - 1 for end in itertools.accumulate(map(len, pieces))]
        else:  # unknown pieces, bytes, or characters that the normalizer joined
            found = self._processor.Encode(spelled, return_type="proto").pieces
            # They end at bytes; a byte of a longer character's completes nothing.
            ids, at = [piece.id for piece in found], [0, *_character_ends(spelled.encode("utf-8"))]
            ends = [at[piece.end] for piece in found]
        if spelled and (ends[-1:] != [len(spelled)] or any(map(operator.gt, ends, ends[1:]))):
            raise ValueError(
                f"the ids of {text[:80]!r} end at {ends[-1:]}, wanted {len(spelled)}: the "
                "tokenizer's normalizer lost a part of it"
            )
        return ids, self._codec.plain_ends(spelled, ends)

    @functools.cached_property
    def _piece_texts(self) -> list[str]:
        return self._processor.IdToPiece(list(range(self._pieces)))

    def id_of(self, piece: str) -> int | None:
        """Return the id of a piece, or None where the vocabulary has none."""
        return self._piece_ids.get(piece)

    @functools.cached_property
    def _piece_ids(self) -> dict[str, int]:
        return {piece: i for i, piece in enumerate(self._piece_texts)}

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text up to the first end of sequence; never fail on a model's output."""
        kept = []
        for i in until_eos(ids):
            if 0 <= i < self._pieces:
                kept.append(i)
            elif not self._pieces <= i < self.vocab_size:
                kept.append(UNK_ID)
        return self._codec.decode(self._processor.DecodeIds(kept))

    def piece(self, i: int) -> str:
        """Return the piece with id `i`, for people to look at."""
        return self._processor.IdToPiece(i) if i < self._pieces else f"<{i}>"

    def __repr__(self) -> str:
        return f"SentencePieceVocabulary({self._path!r}, extra_ids={self._extra_ids})"


class ByteVocabulary:
    """ByT5's bytes: id 3 is byte 0 (Xue et al. 2022). It carries any text without the codec."""

    pad_id, eos_id, unk_id = PAD_ID, EOS_ID, UNK_ID

    def __init__(self, *, extra_ids: int = 100):
        """Reserve `extra_ids` sentinels behind the bytes."""
        self._extra_ids = extra_ids

    @property
    def vocab_size(self) -> int:
        """The number of ids, sentinels included; embeddings are usually padded beyond it."""
        return 3 + 256 + self._extra_ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without an end of sequence."""
        return [byte + 3 for byte in text.encode("utf-8", errors="replace")]

    def spans(self, text: str) -> tuple[list[int], list[int]]:
        """Return the ids of `text` and where in it each one ends, in characters.

        Of the bytes of one character the last completes it; the others are empty.
        """
        ids = self.encode(text)
        if len(ids) == len(text):
            return ids, list(range(1, len(ids) + 1))
        return ids, _character_ends(bytes(i - 3 for i in ids))

    def id_of(self, piece: str) -> int | None:
        """Return the id of a byte as `piece` writes it, or None where it is none."""
        return self._piece_ids.get(piece)

    @functools.cached_property
    def _piece_ids(self) -> dict[str, int]:
        return {self.piece(i): i for i in range(3, 259)}

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text up to the first end of sequence; broken UTF-8 is dropped."""
        data = bytes(i - 3 for i in until_eos(ids) if 3 <= i < 259)
        return data.decode("utf-8", errors="ignore")

    def piece(self, i: int) -> str:
        """Return the byte with id `i`, for people to look at."""
        return repr(bytes([i - 3]))[2:-1] if 3 <= i < 259 else f"<{i}>"

    def __repr__(self) -> str:
        return f"ByteVocabulary(extra_ids={self._extra_ids})"


_BYTES = ByteVocabulary()


def _character_ends(data: bytes) -> list[int]:
    """Return for each byte of UTF-8 how many characters end with it or before."""
    # A byte that another byte of the same character follows completes nothing.
    return list(itertools.accumulate(not 0x80 <= byte < 0xC0 for byte in (*data[1:], 0)))


def until_eos(ids: Iterable[int]) -> list[int]:
    """Return the ids before the first end of sequence, as plain integers."""
    plain = [int(i) for i in ids]
    return plain[: plain.index(EOS_ID)] if EOS_ID in plain else plain


def model_file(vocab: str, path: str | os.PathLike[str] | None = None) -> str:
    """Return where the SentencePiece model lies: `path`, the environment's, or the public one."""
    if vocab not in MODEL_FILES:
        raise UserError(f"vocabulary is {vocab!r}, wanted one of {', '.join(VOCABULARIES)}")
    variable, public = MODEL_FILES[vocab]
    return os.fspath(path) if path else os.environ.get(variable) or public


def use_model_file(vocab: str, path: str | os.PathLike[str] | None) -> None:
    """Make `path`, if it is given, the model of a vocabulary in this process and its children.

    The registered tasks and the TensorFlow-free vocabulary both look there.
    """
    if path and vocab in MODEL_FILES:
        os.environ[MODEL_FILES[vocab][0]] = os.fspath(path)


def beside(
    path: str | os.PathLike[str], record: Mapping[str, Any]
) -> tuple[str, str | os.PathLike[str] | None] | None:
    """Return the vocabulary of a checkpoint and where its model lies, as `load` takes them.

    Args:
      path: a MODEL_DIR, one checkpoint in it, or a Hugging Face directory.
      record: its config.json, ours or Hugging Face's.

    Returns:
      None where nothing says it. The model lies beside the checkpoint, or is named in `record`.
    """
    folder = epath.Path(path)
    # Ours lies in the MODEL_DIR, above a checkpoint.
    places = (folder, folder.parent) if "model" in record else (folder,)
    files = (place / SAVED_MODEL for place in places)
    found = next((file for file in files if file.exists()), None)
    named = record.get("vocab")
    if isinstance(named, dict):
        return named["name"], found or named.get("path")
    if "model" in record:
        return None if named is None else (named, found)
    if record.get("vocab_size") == 384:  # ByT5: 3 + 256 bytes + 125 sentinels
        return "byt5", None
    if found:
        return ("mt5" if record.get("model_type") == "mt5" else "t5"), found
    return None


def spelling(vocab: str) -> codec.Codec:
    """Return the codec that goes with a SentencePiece vocabulary."""
    return codec.multilingual() if vocab == "mt5" else codec.T5


def load(
    vocab: str, path: str | os.PathLike[str] | None = None
) -> SentencePieceVocabulary | ByteVocabulary:
    """Return a vocabulary without TensorFlow, the same one each time.

    Args:
      vocab: `t5`, `byt5` or `mt5`.
      path: the SentencePiece model; where None, $T5DISTILL_T5_VOCAB or $T5DISTILL_MT5_VOCAB.

    Raises:
      UserError: there is no such vocabulary, or its model cannot be read.
    """
    if vocab == "byt5":
        return _BYTES
    path = model_file(vocab, path)
    return _loaded(vocab, path, _stamp(path))


@functools.lru_cache(maxsize=8)
def _loaded(vocab: str, path: str, stamp: int) -> SentencePieceVocabulary:
    """Return the vocabulary of a model as it was at a time; its tables are made once."""
    return SentencePieceVocabulary(path, spelling=spelling(vocab))


def missing_model(path: str) -> UserError:
    """Return the error for a SentencePiece model that cannot be read."""
    return UserError(
        f"{path}: cannot read this SentencePiece model; copy T5's from "
        f"{MODEL_FILES['t5'][1]} (or the spiece.model of any T5 checkpoint) to a local file and "
        "name that file in $T5DISTILL_T5_VOCAB ($T5DISTILL_MT5_VOCAB for mT5)"
    )


def _stamp(path: str) -> int:
    """Return the time of a model's last change: one trained again must not read stale.

    What lies in a bucket is read once a process.
    """
    if places.is_remote(path):
        return 0
    if not os.path.isfile(path):
        raise missing_model(path)
    return os.stat(path).st_mtime_ns


@functools.cache
def _load_model(path: str, stamp: int):
    """Return the processor of the model at `path`, as it was at a time."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    try:
        with places.reading(path) as f:
            processor.LoadFromSerializedProto(f.read())
    except (OSError, RuntimeError, UserError) as e:
        raise missing_model(path) from e
    found = (processor.pad_id(), processor.eos_id(), processor.unk_id())
    if found != (PAD_ID, EOS_ID, UNK_ID):
        raise UserError(f"{path}: pad, eos, unk are {found}, wanted (0, 1, 2) as in T5")
    return processor


def use_vocabulary(vocab: str, path: str | None) -> None:
    """Make `path` the SentencePiece model of a vocabulary in this process, if it is given.

    Tasks are registered by name before any macro is read, so the environment carries the path.

    Raises:
      UserError: there is no such vocabulary or file.
    """
    if vocab not in VOCABULARIES:
        raise UserError(f"VOCAB is {vocab!r}; {suggest(vocab, VOCABULARIES)}")
    if path is None or vocab not in MODEL_FILES:
        return
    if not places.is_remote(path):
        if not os.path.isfile(path):
            raise missing_model(path)
        _ = load(vocab, path).vocab_size  # raises where it is no such model
    use_model_file(vocab, path)
