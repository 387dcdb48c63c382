"""Networks that write equations, mostly wrong ones, and the calculator's rules once more, naively.

The networks are small T5s, trained here for some seconds to answer random prompts with a few dozen
texts whose results are random. Sampled, they write others of that kind.
"""

from __future__ import annotations

import functools
import random

import jax
import jax.numpy as jnp
import numpy as np
import optax

from t5distill.formats import vocabulary as vocabularies
from t5distill.student.config import T5Config
from t5distill.student.network import bind, init_parameters
from t5distill.student.sampling import Sampling, choose, row_keys
from t5distill.verify.calculator import result_due

BYTES = vocabularies.ByteVocabulary()
COUNT = 24
LENGTH = 56


def _texts() -> list[str]:
    """Return texts with equations of every kind that the calculator knows."""
    rng = random.Random(0)

    def equation() -> str:
        a, b, c = rng.randint(2, 99), rng.randint(2, 30), rng.randint(2, 400)
        sign = rng.choice("+-**")
        return rng.choice(
            (
                f"There are {a} {sign} {b} = {c} rolls.",
                f"So {a} {sign} {b} = {c}.5 miles",
                f"He pays {a * b} / {b} = ${c},000 now.",
                f"That is {a}*{b} = $<<{a}*{b}={c}>>{c} in all.\n",
                f"She has {a}+{b}=<<{a}+{b}={c}>>{c}.",
                f"Half is {b}.5 {sign} 2 = {c} or {a}% - {b}% = {c}%.",
                f"x = {c} and {c} = {a}",
            )
        )

    return [" ".join(equation() for _ in range(rng.randint(1, 3))) for _ in range(COUNT)]


TEXTS = _texts()


class Joined:
    """A vocabulary whose pieces go from `=` on into numbers: the longest one that fits is taken."""

    def __init__(self):
        joined = ["=2", "=3", "= 1", "= $", "=1", "==", " = ", "24", "19", "99", " 2", "<<", ">>"]
        self.pieces = ["", "", "?", *map(chr, range(32, 127)), "\n", *joined]
        self.vocab_size = len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        ids = []
        while text:
            best = max((p for p in self.pieces[3:] if text.startswith(p)), key=len)
            ids.append(self.pieces.index(best, 3))
            text = text[len(best) :]
        return ids

    def decode(self, ids) -> str:
        """Return the text of `ids`."""
        return "".join(self.pieces[i] if i < len(self.pieces) else "" for i in ids)


def prompts(config: T5Config, count: int) -> list[list[int]]:
    """Return random inputs of several lengths; the first `COUNT` are those of training."""
    rng = np.random.default_rng(0)
    return [
        [*rng.integers(2, config.vocab_size, rng.integers(1, 12)).tolist(), 1] for _ in range(count)
    ]


@functools.cache
def network(vocabulary):
    """Return `(params, config)` of a network that writes texts like `TEXTS`."""
    config = T5Config(
        vocab_size=-(-vocabulary.vocab_size // 8) * 8,
        emb_dim=48,
        num_heads=4,
        head_dim=8,
        mlp_dim=64,
        num_encoder_layers=1,
        num_decoder_layers=2,
    )
    inputs, targets = np.zeros((COUNT, 16), np.int32), np.zeros((COUNT, LENGTH), np.int32)
    for i, (prompt, text) in enumerate(zip(prompts(config, COUNT), TEXTS, strict=True)):
        inputs[i, : len(prompt)] = prompt
        ids = [*vocabulary.encode(text), 1][:LENGTH]
        targets[i, : len(ids)] = ids
    decoder = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params, state):
        def loss(params):
            logits = bind(config, params)(inputs, decoder)
            each = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
            return jnp.sum(each * (targets > 0)) / np.sum(targets > 0)

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    params = init_parameters(config, 0)
    state = optimizer.init(params)
    for _ in range(80):
        params, state = step(params, state)
    return params, config


class Naive:
    """The rules, after each token anew from the whole text."""

    def __init__(self, vocabulary, size: int):
        self.vocabulary = vocabulary
        anchor = vocabulary.encode("a 7")
        before = vocabulary.decode(anchor)
        texts = [vocabulary.decode([*anchor, i]) for i in range(size)]
        self.adds = [t[len(before) :] if t.startswith(before) else "" for t in texts]

    def spelled(self, ids, new):
        """Return the tokens of `new` behind `ids`."""
        encode, decode = self.vocabulary.encode, self.vocabulary.decode
        text = decode(ids)
        whole = encode(text + new)
        if whole[: len(ids)] == ids:
            return whole[len(ids) :]
        for before in ("a =", "a=", "7", "("):
            start = encode(before)
            more = encode(before + new)
            if more[: len(start)] == start and decode(ids + more[len(start) :]) == text + new:
                return more[len(start) :]
        return []

    def due(self, ids):
        """Return the tokens due after `ids`, and which characters may not follow them."""
        text = self.vocabulary.decode(ids)
        value = result_due(text)
        if value is None:
            return [], ""
        open_note = text.rstrip(" ").endswith("=") and text.rfind("<<") > text.rfind(">>")
        open_note = open_note and "=" not in text.rstrip(" ")[text.rfind("<<") : -1]
        new = value + (">>" if open_note else "")
        if text.endswith("=") and not open_note and text.rstrip("=").endswith(" "):
            new = " " + new
        line = max(text.rfind("\n"), *(text.rfind(c + " ") + 1 for c in ".!?"))
        percent = "%" in text[line + 1 :] or "100" in text[line + 1 :]
        after = "" if open_note or value.endswith("%") else "number" if percent else "number%"
        return self.spelled(ids, new), after

    def forbidden(self, token, after):
        """Tell whether a token would make another number of the one before it."""
        text = self.adds[token]
        if after == "digit":
            return text[:1].isdigit()
        number = text[:1].isdigit() or (text[:1] in ".,eE" and text[1:2].isdigit() and text != "")
        return number or ("%" in after and text.startswith("%"))


@functools.cache
def _logits(config: T5Config):
    return jax.jit(lambda params, encoder, decoder: bind(config, params)(encoder, decoder))


def naive_decode(params, config, vocabulary, tokens, *, max_tokens, sampling, keys):
    """Decode one row, one token at a time, without cache; return ids, finished, forced, changed."""
    rules = Naive(vocabulary, config.vocab_size)
    ids, queue, after, fresh, openings = [], [], "", False, 0
    forced = changed = 0
    counted = differs = False
    following = ""
    while len(ids) < max_tokens:
        encoder = np.zeros((1, 16), np.int32)
        encoder[0, : len(tokens)] = tokens
        decoder = np.zeros((1, max_tokens), np.int32)
        decoder[0, 1 : len(ids) + 1] = ids
        logits = _logits(config)(params, encoder, decoder)[:, len(ids)]
        position = jnp.asarray([len(ids)], jnp.int32)
        token = own = int(choose(logits, sampling, keys, position)[0])
        opens = rules.adds[own].replace("<<", "").replace("<", "").strip(" ") in ("", "$")
        opened = False
        if queue and fresh and opens and rules.adds[own] and own != queue[0]:
            opened, queue = True, []
        elif queue:
            forced += not counted
            changed += own != queue[0] and not differs
            differs |= own != queue[0]
            counted, fresh = True, False
            token, *queue = queue
            after = "" if queue else following
        elif after:
            if rules.forbidden(own, after):
                bad = np.array([rules.forbidden(i, after) for i in range(config.vocab_size)])
                again = jnp.where(bad[None], -jnp.inf, logits)
                token = int(choose(again, sampling, keys, position + (1 << 30))[0])
                changed += not differs
                differs = True
            separates = after != "digit" and rules.adds[token] in (".", ",")
            after = "digit" if separates else ""
        if token == 1:
            return ids, True, forced, changed
        text = vocabulary.decode([*ids, token])
        added = rules.adds[token]
        if not queue and "=" in added and added.split("=")[-1].strip(" $")[:1].isdigit():
            # The token goes on into the number.
            short = rules.adds.index(added.partition("=")[0] + "=")
            due, following = rules.due([*ids, short])
            if due:
                wanted = [short, *due]
                whole = vocabulary.encode(vocabulary.decode(ids + wanted))
                wanted = whole[len(ids) :] if whole[: len(ids)] == ids else wanted
                forced += 1
                differs, counted, fresh, openings = token != wanted[0], True, False, 0
                changed += differs
                token, *queue = wanted
                after = "" if queue else following
                ids.append(token)
                continue
        ids.append(token)
        if not queue and (opened or text.rstrip(" $").endswith(("=", ">"))):
            openings = openings + 1 if opened else 0
            due, next_following = rules.due(ids)
            if due:
                queue, following = due, next_following
                counted = differs = False
                fresh = openings < 3
    return ids, False, forced, changed


def naive(params, config, vocabulary, inputs, *, max_tokens, temperature, seed):
    """Decode every input by itself."""
    found = []
    for i, tokens in enumerate(inputs):
        keys = row_keys(jnp.uint32(seed), jnp.asarray([i]), jnp.asarray([0]))
        found.append(
            naive_decode(
                params,
                config,
                vocabulary,
                tokens,
                max_tokens=max_tokens,
                sampling=Sampling(temperature=temperature),
                keys=keys,
            )
        )
    return found
