"""The calculator inside decoding, against the naive way of doing it."""

import functools
import io
import os
import pathlib
import re

import pytest
import sentencepiece
from equations import BYTES, TEXTS, Joined, naive, network, prompts

from t5distill.errors import UserError
from t5distill.formats import vocabulary as vocabularies
from t5distill.formats.train_vocabulary import train_sentencepiece
from t5distill.student import scheduler
from t5distill.student.calculator import Calculator
from t5distill.student.decoding import generate_tokens
from t5distill.verify.calculator import result_due

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
        if name == "mt5":
            # As mT5's: an unknown character is spelled in bytes.
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(TEXTS),
                model_writer=model,
                vocab_size=380,
                byte_fallback=True,
                normalization_rule_name="nmt_nfkc",
                **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "minloglevel": 2},
            )
            path.write_bytes(model.getvalue())
            return vocabularies.load("mt5", path)
        if name == "digits":
            train_sentencepiece(TEXTS, path, vocab_size=200, split_digits=True)
        else:
            train_sentencepiece(TEXTS, path, vocab_size=280, split_digits=False)
        return vocabularies.load("t5", path)

    return load


NAMES = ("pieces", "digits", "bytes", "joined", "mt5")


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


@pytest.mark.parametrize("name", NAMES)
def test_a_line_that_goes_on_is_seen_in_tokens(vocabulary_of, name):
    vocabulary = vocabulary_of(name)
    calculator = Calculator(vocabulary, network(vocabulary)[1].vocab_size)
    due = 0
    for before in (
        "",
        "5 +",
        "5 + ",
        "So 5 *",
        "5 -\n",
        "5 times",
        "It is 20% of",
        "So 5",
        "5 + 2 =",
    ):
        text = f"He has 2 * 3 = 6.\n{before}\n3 * 12 ="
        ids = vocabulary.encode(text)
        wanted = result_due(vocabulary.decode(ids))
        found = calculator.due(ids).tokens
        assert bool(found) == (wanted is not None), text
        due += bool(found)
        if found:
            assert vocabulary.decode([*ids, *found]).endswith(wanted)
    assert due >= 2


# A visit after every token, and one after many; the former for every vocabulary in soak alone.
@pytest.mark.parametrize(
    ("name", "steps"),
    [
        *((name, 16) for name in NAMES),
        *(("pieces", 1), ("bytes", 1)),
        *(pytest.param(name, 1, marks=pytest.mark.soak) for name in ("digits", "joined", "mt5")),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_it_writes_what_the_naive_way_writes(vocabulary_of, monkeypatch, name, temperature, steps):
    monkeypatch.setattr(scheduler, "visit_steps", lambda config, rows: steps)
    vocabulary = vocabulary_of(name)
    wanted = naively(vocabulary, temperature)
    found = decoded(vocabulary, temperature=temperature, seed=3)
    differing = [
        (vocabulary.decode(ours[0]), vocabulary.decode(theirs[0]))
        for ours, theirs in zip(found, wanted, strict=True)
        if ours != theirs
    ]
    # A draw on the border between two tokens may fall either way: the programs round otherwise.
    assert len(differing) <= (1 if temperature else 0), differing
    assert sum(row[2] for row in found) > 10 and sum(row[3] for row in found) > 5


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("settings", [{"slots": 3}, {"slots": 64}, {"swap": False}])
def test_slots_and_swapping_change_nothing(settings, temperature):
    more = {"count": 30, "temperature": temperature, "max_tokens": 90}
    wanted = decoded(BYTES, **more)
    assert decoded(BYTES, **more, **settings) == wanted
    # Long enough for the ring to grow with rows that have gone back in it.
    assert any(len(row[0]) > 64 for row in wanted)


def test_a_row_depends_on_its_index_only():
    params, config = network(BYTES)
    settings = {
        "max_tokens": 60,
        "temperature": 1.0,
        "num_samples": 3,
        "calculator": Calculator(BYTES, config.vocab_size),
    }
    inputs = prompts(config, 12)
    whole = generate_tokens(params, config, inputs, slots=8, **settings)
    some = [7, 2]
    again = generate_tokens(params, config, [inputs[i] for i in some], indices=some, **settings)
    assert again == [whole[i] for i in some]
    # The network is trained here, and rounds as its machine does: which row varies is not certain.
    assert sum(len({tuple(o.tokens) for o in outputs}) > 1 for outputs in whole) > 8


@pytest.mark.parametrize("limit", [21, 22, 29, 47])
def test_the_limit_is_never_passed_and_cuts_nothing_else(limit):
    whole = decoded(BYTES)
    cut = decoded(BYTES, max_tokens=limit)
    for short, long in zip(cut, whole, strict=True):
        assert short[0] == long[0][:limit]
        assert short[1] == (long[1] and len(long[0]) < limit)


def _dues(vocabulary, output):
    """Yield of every `=` behind which a value is due whether that value follows."""
    text = vocabulary.decode(output.tokens)
    for end in (m.end() for m in re.finditer("=", text)):
        value, rest = result_due(text[:end]), text[end:].lstrip(" $")
        # An annotation may be opened first, whose own `=` then counts; what the limit cut off may
        # lack digits.
        opened = rest.startswith("<<")
        if value is not None and not opened and (output.finished or len(rest) > len(value)):
            yield rest.startswith(value)


def test_every_result_is_right_and_without_it_most_are_wrong(vocabulary_of):
    for name in ("digits", "bytes"):
        vocabulary = vocabulary_of(name)
        params, config = network(vocabulary)
        inputs = prompts(config, 24)
        settings = {"max_tokens": 120, "temperature": 0.7, "num_samples": 4}
        without = generate_tokens(params, config, inputs, **settings)
        calculator = Calculator(vocabulary, config.vocab_size)
        outputs = generate_tokens(params, config, inputs, calculator=calculator, **settings)
        shares = []
        for rows in (without, outputs):
            found = [right for row in rows for o in row for right in _dues(vocabulary, o)]
            assert len(found) > 40
            shares.append(sum(found) / len(found))
        assert shares[0] < 0.5 and shares[1] > 0.97, (name, shares)


def test_the_tables_of_a_vocabulary():
    calculator = Calculator(BYTES, 384)

    def bytes_of(table):
        return {BYTES.decode([i]) for i in range(384) if table[i]}

    assert bytes_of(calculator.triggers) == {"=", ">"}
    assert bytes_of(calculator.opens) == {" ", "$", "<"}
    none, number, digits, percent = (bytes_of(mask) for mask in calculator.masks)
    assert none == set() and digits == percent == set("0123456789") and number == digits | {"%"}
    joined = Joined()
    calculator = Calculator(joined, joined.vocab_size)
    cut = calculator.respelled(joined.encode("So 3 * 4"), joined.pieces.index("= 1"))
    assert cut is not None and joined.decode(cut.tokens) == "=12"  # "3 * 4=" goes on unspaced
    assert joined.decode(calculator.forced(joined.encode("So 3 * 4 ="))) == " 12"
    assert joined.decode(calculator.forced(joined.encode("So 3*4="))) == "12"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("There are 3 * 12 =", " 36"),
        ("There are 3*12=", "36"),
        ("It costs $3 * 12 = $", "36"),
        ("So 48/2 = <<48/2=", "24>>"),
        ("So 48/2 = <<48/2=24>>", "24"),
        ("The rest is 100% - 40% =", " 60%"),
        ("Each gets 10 / 4 =", " 2.5"),
        ("It is 3 * x =", ""),
    ],
)
def test_forced_tokens_are_the_vocabulary_s_own(vocabulary_of, text, value):
    folder = os.environ.get("T5DISTILL_REAL_DATA")
    found = [vocabulary_of(name) for name in NAMES]
    if folder:
        path = pathlib.Path(folder) / "t5_vocab" / "spiece.model"
        found.append(vocabularies.load("t5", path))
    for vocabulary in found:
        calculator = Calculator(vocabulary, vocabulary.vocab_size)
        ids = vocabulary.encode(text)
        forced = calculator.forced(ids)
        assert vocabulary.decode([*ids, *forced]) == text + value
        whole = vocabulary.encode(text + value)
        if whole[: len(ids)] == ids:
            assert ids + forced == whole


def test_beams_and_vocabularies_without_equations_are_refused():
    params, config = network(BYTES)
    calculator = Calculator(BYTES, config.vocab_size)
    with pytest.raises(UserError, match="has no calculator"):
        generate_tokens(params, config, [[5, 1]], max_tokens=4, beam_size=2, calculator=calculator)

    class Letters(Joined):
        def decode(self, ids):
            return super().decode(ids).replace("=", "")

    with pytest.raises(UserError, match="cannot spell"):
        Calculator(Letters(), 100)
