"""The vocabularies as SeqIO objects, with the codec between plain text and the pieces.

Tasks, metrics and T5X's JSONL hold plain text: only here, and in the TensorFlow-free twins of
`formats.vocabulary`, does text meet its spelling.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import seqio
import tensorflow as tf

from t5distill.data import codec_ops
from t5distill.errors import UserError
from t5distill.formats import vocabulary as plain

EXTRA_IDS = 100


class CodecSentencePieceVocabulary(seqio.SentencePieceVocabulary):
    """T5's or mT5's SentencePiece vocabulary for any text.

    Without a path the model file is looked up in the environment each time it is needed, not when
    the object is made: importing the tasks must not fix, or touch, a file.
    """

    def __init__(self, vocab: str, path: str | None = None, *, extra_ids: int = EXTRA_IDS):
        """Name the vocabulary (`t5` or `mt5`) and, if it is not the environment's, its file."""
        self._vocab = vocab
        self._path = path
        self._loaded_from: str | None = None
        super().__init__(path or "", extra_ids=extra_ids)

    @property
    def sentencepiece_model_file(self) -> str:
        """Where the model lies now."""
        return plain.model_file(self._vocab, self._path)

    def _model_context(self):
        path = self.sentencepiece_model_file
        if path != self._loaded_from:
            self._model = None
            self._sentencepiece_model_file = path
            try:
                context = super()._model_context()
            except (tf.errors.OpError, OSError, RuntimeError) as e:
                raise plain.missing_model(path) from e
            self._loaded_from = path
            return context
        return super()._model_context()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_loaded_from": None}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CodecSentencePieceVocabulary):
            return False
        return (self._vocab, self.sentencepiece_model_file, self.extra_ids) == (
            other._vocab,
            other.sentencepiece_model_file,
            other.extra_ids,
        )

    __hash__ = None

    @property
    def _codec(self):
        return plain.spelling(self._vocab)

    def _sentinels(self) -> range:
        size = self.tokenizer.GetPieceSize()
        return range(size - self.extra_ids, size)

    def _encode(self, s: str) -> Sequence[int]:
        return super()._encode(self._codec.encode(s))

    def _decode(self, ids: Iterable[int]) -> str:
        sentinels = self._sentinels()
        kept = [i if i >= 0 else plain.UNK_ID for i in map(int, ids) if i not in sentinels]
        return self._codec.decode(super()._decode(kept))

    def _encode_tf(self, s: tf.Tensor) -> Any:
        return super()._encode_tf(codec_ops.encode(self._codec, s))

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        sentinels = self._sentinels()
        is_sentinel = (ids >= sentinels.start) & (ids < sentinels.stop)
        text: Any = super()._decode_tf(tf.where(is_sentinel, plain.PAD_ID, ids))
        return codec_ops.decode(self._codec, text)

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}({self._vocab!r}, file={self.sentencepiece_model_file}, "
            f"extra_ids={self.extra_ids})"
        )


def vocabulary(vocab: str, path: str | os.PathLike[str] | None = None) -> seqio.Vocabulary:
    """Return the one SeqIO object of a vocabulary, which tasks and model share.

    T5X refuses to train where the task's and the model's vocabulary differ, and it compares paths.

    Args:
      vocab: `t5`, `byt5` or `mt5`.
      path: the SentencePiece model; where None, the file named by $T5DISTILL_T5_VOCAB or
        $T5DISTILL_MT5_VOCAB, and else the public one on gs://t5-data.

    Raises:
      UserError: there is no such vocabulary.
    """
    if vocab not in plain.VOCABULARIES:
        wanted = ", ".join(plain.VOCABULARIES)
        raise UserError(f"vocabulary is {vocab!r}, wanted one of {wanted}")
    return _vocabulary(vocab, None if path is None else os.fspath(path))


def check_size(vocab: str, vocab_size: int) -> None:
    """Raise UserError where a model's embedding has fewer rows than the vocabulary has ids."""
    size = vocabulary(vocab).vocab_size
    if size > vocab_size:
        raise UserError(
            f"VOCAB {vocab!r} has {size} ids, but the model's VOCAB_SIZE is {vocab_size}; "
            "the model file does not fit"
        )


@functools.cache
def _vocabulary(vocab: str, path: str | None) -> seqio.Vocabulary:
    if vocab == "byt5":
        return seqio.ByteVocabulary(extra_ids=EXTRA_IDS)
    return CodecSentencePieceVocabulary(vocab, path)
