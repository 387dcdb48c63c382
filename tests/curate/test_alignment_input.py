"""What is refused as log-probabilities, and with which words."""

import math

import alignment_materials as materials
import pytest

from t5distill.curate import alignment
from t5distill.formats.vocabulary import ByteVocabulary
from t5distill.records import Chain


def chain(tokens, text="If so", **meta):
    return Chain(
        problem_id="p1", style="cot", text=text, teacher="t", meta={**meta, "tokens": tokens}
    )


def token(text, *top):
    return {"text": text, "top": [list(pair) for pair in top]}


GOOD = [token("If", ("If", -0.7), ("She", -1.6)), token(" so", (" so", -0.5), (" not", -1.2))]


def second(*top):
    return [GOOD[0], token(" so", *top)]


BAD = {
    "none": (None, "no log-probabilities; ask the teacher for them: generate --top-logprobs K"),
    "an empty list": ([], "no log-probabilities"),
    "another form": ([{"t": 1}], "another form"),
    "no list": (5, "another form"),
    "text is a number": ([{"text": 5, "top": []}], "another form"),
    "other words": ([token("Is", ("Is", -1)), GOOD[1]], "do not rebuild.*character 1.*'f so'"),
    "words missing": ([GOOD[0]], "do not rebuild.*character 2"),
    "words behind": ([*GOOD, *GOOD], "do not rebuild.*behind it"),
    "no alternatives": (second(), r"token 1 \(' so'\): no alternatives, wanted 2"),
    "top is no list": (
        [GOOD[0], {"text": " so", "top": None}],
        "token 1.*wanted a text and a list",
    ),
    "no pair": ([GOOD[0], {"text": " so", "top": [5, 6]}], "token 1.*5 is an alternative"),
    "an alternative is no text": (second((5, -1), (" so", -1)), "token 1.*wanted .text, logprob."),
    "minus infinity": (second((" so", -0.1), ("x", -math.inf)), "'x' has log-probability -inf"),
    "not a number": (second((" so", -0.1), ("x", math.nan)), "'x' has log-probability nan"),
    "null": (second((" so", -0.1), ("x", None)), "'x' has log-probability None"),
    "true": (second((" so", -0.1), ("x", True)), "'x' has log-probability True"),
    "text for a number": (second((" so", -0.1), ("x", "-1")), "'x' has log-probability '-1'"),
    "a positive one": (second((" so", 0.1), ("x", -3)), "' so' has log-probability 0.1"),
    "more than all": (second((" so", -0.1), ("x", -0.7)), "sum to 1.40"),
    "two values of a text": (second((" so", -0.7), (" so", -1.7)), "' so' has two log-prob"),
    "too few": (second((" so", -0.7)), "token 1.*1 alternatives, wanted 2"),
    "too many": (second((" so", -0.7), ("x", -2), ("y", -3)), "token 1.*3 alternatives, wanted 2"),
    "an extra one that is not the sampled": (
        second(("z", -3), ("x", -2), (" so", -0.7)),
        "3 alternatives",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    tokens, reason = BAD[name]
    with pytest.raises(ValueError, match=reason):
        alignment.check(chain(tokens), 2)


GOODS = {
    "as asked for": (GOOD, {}),
    "white space around": ([token("\n ", ("\n ", -1), ("x", -1)), *GOOD,
                            token("\n\n", ("\n\n", -1), ("x", -2))], {}),
    "the rest of a last token": ([GOOD[0], token(" soon", (" soon", -1), ("x", -2))], {}),
    "the rest of a chain that was cut": ([*GOOD, *GOOD], {"cut": 5}),
    "the sampled token outside of the likeliest": (second((" so", -5), ("x", -1), ("y", -2)), {}),
    "the sampled token twice": (second((" so", -1), ("x", -2), (" so", -1)), {}),
    "texts that look alike": (second((" so", -1), (" so", -1)), {}),
    "bytes that are no text": (second(("�", -2), ("�", -3)), {}),
    "rounded": (second((" so", math.log(0.8)), ("x", math.log(0.2005))), {}),
    "rounded above 1": (second((" so", 1e-7), ("x", -20.0)), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", GOODS)
def test_good_input(name):
    tokens, meta = GOODS[name]
    alignment.check(chain(tokens, **meta), 2)
    found = alignment.align("If so", chain(tokens, **meta), ByteVocabulary())
    assert found.probabilities.sum(1).max() <= 1 + 1e-9


@materials.needs_real_data
def test_real_chains_with_zeros_are_refused_and_pass_without():
    refused = 0
    for one in materials.codex_chains():
        if any(lp == -math.inf for t in one.meta["tokens"] for _, lp in t["top"]):
            refused += 1
            with pytest.raises(ValueError, match="-inf"):
                alignment.check(one, 5)
        for t in one.meta["tokens"]:
            t["top"] = [[text, max(lp, -12.0)] for text, lp in t["top"]]
        alignment.check(one, 5)
    assert refused > 40
