"""Train a small SentencePiece vocabulary in the manner of T5's own."""

from __future__ import annotations

import io
import os
import pathlib
import re
import tempfile
from collections.abc import Iterable

from t5distill import formats
from t5distill.errors import UserError
from t5distill.formats import codec
from t5distill.records import Chain, Problem


def alphabet() -> str:
    """Return every character that the codec's spelling can hold, the plain space aside."""
    foreign = re.compile(codec.T5.foreign)
    sources = {old for old, _ in codec.T5.marks}
    # T5's alphabet ends below this block; the rest is escaped.
    plain = {c for c in map(chr, range(0x21, 0x2100)) if not foreign.match(c)} - sources
    return "".join(sorted(plain | set(codec.T5.stand_ins)))


def of_examples(
    chains: Iterable[tuple[str, Problem, Chain | None]], path: pathlib.Path, *, vocab_size: int
) -> int:
    """Train a vocabulary with digits apart on what students read and write; return of how many.

    Args:
      chains: style, problem and chain of each example.
      path: as `train_sentencepiece`.
      vocab_size: as `train_sentencepiece`.
    """
    texts = [
        text
        for style, problem, chain in chains
        for example in formats.style(style).examples(problem, chain)
        for text in (example.inputs, example.targets)
    ]
    train_sentencepiece(texts, path, vocab_size=vocab_size, split_digits=True)
    return len(texts) // 2


def train_sentencepiece(
    texts: Iterable[str],
    path: str | os.PathLike[str],
    *,
    vocab_size: int,
    split_digits: bool,
) -> pathlib.Path:
    """Train a byte-pair model on plain texts and write it to `path`; same texts, same model.

    The model has the normalizer, the special ids (pad 0, eos 1, unk 2, no bos) and the alphabet of
    T5's, so `SentencePieceVocabulary` carries any text through it. 138 of the pieces are that
    alphabet.

    Args:
      texts: plain texts; the codec is applied here.
      path: where the `.model` file goes; an existing one is replaced.
      vocab_size: pieces wanted, special ones included; fewer where the texts yield fewer.
      split_digits: make each digit a piece of its own, which lets small students add.

    Raises:
      UserError: there is no text, or `vocab_size` cannot hold the alphabet.
    """
    import sentencepiece

    sentences = [codec.encode(text) for text in texts]
    if not any(sentences):
        raise UserError("no text to train a vocabulary on")
    required = alphabet()
    wanted = len(required) + 4
    if vocab_size < wanted:
        raise UserError(f"vocab_size is {vocab_size}, wanted at least {wanted}: T5's alphabet")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        # T5's own model is a unigram one. On a few hundred distinct words unigram training prunes
        # even "answer" into parts: 67 pieces a chain instead of the 52 of byte-pair merges.
        model_type="bpe",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars=required,
        split_digits=split_digits,
        max_sentence_length=1 << 20,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        # More threads would sum counts in another order and could change the model.
        num_threads=1,
        minloglevel=2,
    )
    return _write(pathlib.Path(path), model.getvalue())


def _write(path: pathlib.Path, content: bytes) -> pathlib.Path:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path
