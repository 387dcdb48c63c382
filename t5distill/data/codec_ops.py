"""The codec of `formats.codec` as TensorFlow operations, for strings inside tf.data and T5X."""

from __future__ import annotations

import re

import tensorflow as tf

from t5distill.formats.codec import END, START, Codec, Rule


def encode(codec: Codec, text: tf.Tensor) -> tf.Tensor:
    """Spell each text with characters of the vocabulary only; as `Codec.encode`.

    Args:
      codec: the spelling.
      text: string tensor of any shape, UTF-8.

    Returns:
      string tensor of the same shape.
    """
    foreign = _contains(text, codec.foreign)
    text = _where_any(foreign, text, lambda t: _escape(codec, t))
    marked = "".join(sorted({old[0] for old, _ in codec.marks}))
    if marked:
        # Most texts hold none of these, and one test costs less than a dozen replacements.
        present = _contains(text, f"[{re.escape(marked)}]")
        text = _where_any(present, text, lambda t: _apply(codec.mark_rules, t))
    return _apply(codec.space_rules, text)


def decode(codec: Codec, text: tf.Tensor) -> tf.Tensor:
    """Return the plain text of each spelling; as `Codec.decode`.

    Args:
      codec: the spelling.
      text: string tensor of any shape, UTF-8.

    Returns:
      string tensor of the same shape.
    """
    text = _apply(codec.decode_rules, text)
    escaped = _contains(text, re.escape(codec.escape))
    return _where_any(escaped, text, lambda t: _resolve(codec, t))


def _contains(text: tf.Tensor, pattern: str) -> tf.Tensor:
    """Say of each text whether the pattern occurs in it."""
    return tf.strings.regex_full_match(text, f"(?s).*{pattern}.*")


def _where_any(condition: tf.Tensor, text: tf.Tensor, function) -> tf.Tensor:
    """Apply `function` to all texts if the condition holds of any."""
    return tf.cond(tf.reduce_any(condition), lambda: function(text), lambda: text)


def _apply(rules: tuple[Rule, ...], text: tf.Tensor) -> tf.Tensor:
    """Apply the rules in order."""
    anchors = {START: r"\A%s", END: r"%s\z"}
    for rule in rules:
        pattern = anchors.get(rule.where, "%s") % re.escape(rule.old)
        text = tf.strings.regex_replace(text, pattern, rule.new.replace("\\", r"\\"))
    return text


def _escape(codec: Codec, text: tf.Tensor) -> tf.Tensor:
    """Write every foreign character as an escape."""
    flat = tf.reshape(text, [-1])
    points = tf.strings.unicode_decode(flat, "UTF-8")
    characters = tf.strings.unicode_encode(tf.expand_dims(points.flat_values, -1), "UTF-8")
    escapes = tf.strings.join([codec.escape, tf.strings.as_string(points.flat_values), ";"])
    foreign = tf.strings.regex_full_match(characters, codec.foreign)
    pieces = points.with_flat_values(tf.where(foreign, escapes, characters))
    return tf.reshape(tf.strings.reduce_join(pieces, axis=-1), tf.shape(text))


def _resolve(codec: Codec, text: tf.Tensor) -> tf.Tensor:
    """Replace every well-formed escape by its character."""
    flat = tf.reshape(text, [-1])
    # What follows an escape character: an escape holds no other, so each part stands alone.
    parts = tf.strings.split(flat, codec.escape)
    after = parts.flat_values
    digits = tf.strings.regex_replace(after, r"(?s)\A([1-9][0-9]{0,6}|0);.*\z", r"\1")
    formed = tf.strings.regex_full_match(after, r"(?s)([1-9][0-9]{0,6}|0);.*")
    code = tf.strings.to_number(tf.where(formed, digits, "0"), tf.int32)
    text_point = (code <= 0x10FFFF) & ((code < 0xD800) | (code >= 0xE000))
    character = tf.strings.unicode_encode(
        tf.expand_dims(tf.where(text_point, code, 0x20), -1), "UTF-8"
    )
    meant = formed & text_point & tf.strings.regex_full_match(character, codec.foreign)
    rest = tf.strings.regex_replace(after, r"\A[0-9]+;", "")
    resolved = tf.where(
        meant, tf.strings.join([character, rest]), tf.strings.join([codec.escape, after])
    )
    # The first part of each text stands before any escape character.
    position = tf.range(tf.size(after), dtype=tf.int64)
    leading = tf.equal(position, tf.gather(parts.row_starts(), parts.value_rowids()))
    pieces = parts.with_flat_values(tf.where(leading, after, resolved))
    return tf.reshape(tf.strings.reduce_join(pieces, axis=-1), tf.shape(text))
