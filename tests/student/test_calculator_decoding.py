"""The calculator inside decoding, against the naive way of doing it."""

import functools

import pytest
from equations import BYTES, TEXTS, Joined, naive, network, prompts

from t5distill.errors import UserError
from t5distill.formats import vocabulary as vocabularies
from t5distill.formats.train_vocabulary import train_sentencepiece
from t5distill.student import scheduler
from t5distill.student.calculator import Calculator
from t5distill.student.decoding import generate_tokens
from t5distill.verify.calculator import check_steps

MAX_TOKENS = 48


@pytest.fixture(scope="module")
def vocabulary_of(tmp_path_factory):
    """Return vocabularies by name: pieces with several digits, digits apart, bytes."""
    folder = tmp_path_factory.mktemp("vocabularies")

    @functools.cache
    def load(name):
        if name == "bytes":
            return BYTES
        if name == "joined":
            return Joined()
        path = folder / f"{name}.model"
        if name == "digits":
            train_sentencepiece(TEXTS, path, vocab_size=200, split_digits=True)
        else:
            train_sentencepiece(TEXTS, path, vocab_size=280, split_digits=False)
        return vocabularies.load("t5", path)

    return load


NAMES = ("pieces", "digits", "bytes", "joined")


def decoded(vocabulary, count=12, **settings):
    params, config = network(vocabulary)
    calculator = Calculator(vocabulary, config.vocab_size)
    outputs = generate_tokens(
        params,
        config,
        prompts(config, count),
        calculator=calculator,
        **{"max_tokens": MAX_TOKENS, "slots": 8, **settings},
    )
    return [(o.tokens, o.finished, o.forced, o.changed) for [o] in outputs]


@functools.cache
def naively(vocabulary, temperature):
    params, config = network(vocabulary)
    inputs = prompts(config, 12)
    settings = {"max_tokens": MAX_TOKENS, "temperature": temperature, "seed": 3}
    return naive(params, config, vocabulary, inputs, **settings)


@pytest.mark.parametrize("steps", [1, 5, 16])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_it_writes_what_the_naive_way_writes(vocabulary_of, monkeypatch, name, temperature, steps):
    monkeypatch.setattr(scheduler, "visit_steps", lambda config, rows: steps)
    vocabulary = vocabulary_of(name)
    wanted = naively(vocabulary, temperature)
    found = decoded(vocabulary, temperature=temperature, seed=3)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours == theirs, (vocabulary.decode(ours[0]), vocabulary.decode(theirs[0]))
    assert sum(row[2] for row in found) > 10 and sum(row[3] for row in found) > 5
