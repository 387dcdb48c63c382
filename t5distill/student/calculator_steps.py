"""The calculator for a decoding loop of others, which asks before every token and never goes back.

Our own loop runs ahead and goes back (`scheduler`). Here the whole row is given at every step, and
what its next token is follows from that alone: the calls may come in any order, twice, or from
several devices. What is known of a row's beginning is remembered.

One thing follows from the tokens no more: that the student chose a piece which reaches from `=` on
into a number, and was given `=` instead. Such a row may still put a sign before the value here.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from t5distill.formats.vocabulary import EOS_ID
from t5distill.student.calculator import FREE, Calculator, Watch

_REMEMBERED = 8192  # beginnings of rows; without one it is read again
_NEVER = -1e7  # a logit, as T5X writes minus infinity


class Steps:
    """Decides the next token of rows.

    Args:
      calculator: the rules, in the student's vocabulary.
    """

    def __init__(self, calculator: Calculator):
        self.calculator = calculator
        self._watches: dict[tuple[int, ...], Watch] = {}

    def tokens(self, rows: np.ndarray, lengths: np.ndarray, choices: np.ndarray) -> np.ndarray:
        """Return the next tokens, int32 `[B]`.

        Args:
          rows: int32 `[B, L]`, the tokens so far, without the one that begins every row.
          lengths: int32 `[B]`, how many of them there are.
          choices: int32 `[B, 4]`, the student's choice among the tokens that each of the
            calculator's masks leaves; the first mask leaves all.
        """
        rows, lengths, choices = map(np.asarray, (rows, lengths, choices))
        return np.array(
            [
                self._token(tuple(row[:length].tolist()), own.tolist())
                for row, length, own in zip(rows, lengths, choices, strict=True)
            ],
            np.int32,
        )

    def _token(self, ids: tuple[int, ...], choices: list[int]) -> int:
        own = choices[FREE]
        if EOS_ID in ids:
            return own
        watch, calculator = self._watch(ids), self.calculator
        if watch.queue:
            opens = watch.fresh and calculator.opens[own]
            return own if opens else watch.queue[0]
        if watch.mask != FREE:
            own = choices[watch.mask]
        if calculator.goes_on(own):
            due = calculator.respelled(ids, own)
            if due is not None:
                return due.tokens[0]
        return own

    def _watch(self, ids: tuple[int, ...]) -> Watch:
        """Return what is known after `ids`."""
        known, watch = len(ids), None
        while known:
            # Looked up once: another device's thread may forget it in the next moment.
            watch = self._watches.get(ids[:known])
            if watch is not None:
                break
            known -= 1
        watch = watch or Watch(calculator=self.calculator)
        for end in range(known + 1, len(ids) + 1):
            watch = self._after(watch, ids[:end])
            if len(self._watches) >= _REMEMBERED:
                self._watches.clear()
            self._watches[ids[:end]] = watch
        return watch

    def _after(self, watch: Watch, ids: tuple[int, ...]) -> Watch:
        """Return what is known after the last of `ids`."""
        watch = dataclasses.replace(watch)
        calls = [0] if self.calculator.triggers[ids[-1]] else []
        if watch.read(ids, [False], calls) is None:
            return watch
        # A token that was not ours to choose, such as one of a prompt: the rules begin behind it.
        fresh = Watch(calculator=self.calculator)
        fresh.skip(len(ids))
        return fresh


def choose(masks: np.ndarray, logits: jax.Array, key: jax.Array, temperature: float) -> jax.Array:
    """Return a choice of every row under every mask, int32 `[B, 4]`.

    Args:
      masks: bool `[4, vocab]`, what each forbids.
      logits: `[B, vocab]`.
      key: for all.
      temperature: 0 takes the greatest.
    """
    left = jnp.where(masks[None], _NEVER, logits[:, None].astype(jnp.float32))
    if temperature == 0:
        return jnp.argmax(left, axis=-1).astype(jnp.int32)
    return jax.random.categorical(key, left / temperature, axis=-1).astype(jnp.int32)


def only(tokens: jax.Array, logits: jax.Array) -> jax.Array:
    """Return logits `[B, vocab]` that leave nothing but `tokens`, int32 `[B]`."""
    held = jnp.arange(logits.shape[1])[None] == tokens[:, None]
    return jnp.where(held, 0.0, _NEVER).astype(logits.dtype)
