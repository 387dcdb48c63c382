"""Rewrites that keep the meaning never flip a verdict; other answers always do."""

from __future__ import annotations

import datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5distill.verify import judge
from t5distill.verify.quantities import Quantity, canonical, quantity_tokens, same_quantity

MARKERS = [
    "The answer is {}.",
    "the answer is {}",
    "THE ANSWER IS: {}.",
    "So the final answer is {}.",
    "Answer: {}",
    "**Answer:** {}",
    "#### {}",
    "####{}",
    "12 + 5 is easy. --> {}",
    "Therefore \\boxed{{{}}}.",
    "$\\boxed{{{}}}$",
    "The answer is\n{}",
]
BEFORE = [
    "",
    "She has 16 - 3 = 13 eggs. ",
    "First 7.\nThen 8 * 2 = 16.\n",
    "The answer is 99. No: ",
]
AFTER = [
    "",
    "\n",
    "  ",
    "\n\nQ: How many are 1 + 1?\nA: The answer is 2.",
    " Q: And 3? A: 3.",
    "\n```",
]
UNITS = [" eggs", " km", " dollars", " square feet", " per hour", " hours left"]


def grouped(separator):
    return lambda n: f"{n:,}".replace(",", separator)


WRITINGS = [
    str,
    grouped(","),
    grouped(" "),
    grouped("\u00a0"),
    grouped("\u202f"),
    lambda n: f"{n}.0",
    lambda n: f"{n}.00",
    lambda n: f"${n}" if n >= 0 else f"-${-n}",
    lambda n: f"$ {n}" if n >= 0 else f"-$ {-n}",
    lambda n: f"€{n}" if n >= 0 else f"€-{-n}",
    lambda n: f"**{n}**",
    lambda n: f"*{n}*",
    lambda n: f"`{n}`",
    lambda n: f"__{n}__",
    lambda n: f"({n})",
    lambda n: f"${n}$",
    lambda n: f"\\({n}\\)",
    lambda n: str(n).replace("-", "\u2212"),
    lambda n: str(n).replace("-", "\u2013"),
    lambda n: "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in str(n)),
    lambda n: f"about {n}",
    lambda n: f"{n}%",
    lambda n: f"{n * 2}/2",
    lambda n: f"x = {n}",
    lambda n: f"{n - 7} + 7 = {n}",
]
integers = st.integers(-(10**7), 10**7) | st.integers(-50, 50) | st.integers(10**18, 10**30)


@st.composite
def chains(draw):
    number = draw(integers)
    written = draw(st.sampled_from(WRITINGS))(number)
    unit = draw(st.sampled_from(["", *UNITS]))
    marked = draw(st.sampled_from(MARKERS)).format(written + unit)
    return number, draw(st.sampled_from(BEFORE)) + marked + draw(st.sampled_from(AFTER))


@settings(max_examples=200, deadline=None)
@given(chains())
def test_ways_of_writing_a_right_answer(case):
    number, text = case
    verdict = judge(text, str(number), "numeric")
    assert verdict.outcome == "correct", (text, verdict)
    assert verdict.answer == str(number)


@settings(max_examples=200, deadline=None)
@given(chains(), st.integers(-1000, 1000).filter(bool))
def test_ways_of_writing_a_wrong_answer(case, difference):
    number, text = case
    verdict = judge(text, str(number + difference), "numeric")
    assert verdict.outcome == "wrong", (text, number + difference, verdict)


@settings(max_examples=200, deadline=None)
@given(chains())
def test_never_scaled_by_a_hundred(case):
    number, text = case
    if number:
        assert judge(text, str(number * 100), "numeric").outcome == "wrong"
        assert judge(
            text, canonical(Fraction(number, 100), as_decimal=True), "numeric"
        ).outcome == ("wrong")


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**6), 10**6), st.integers(2, 10**4), st.sampled_from(MARKERS[:8]))
def test_fractions_are_exact(top, bottom, marker):
    gold = str(Fraction(top, bottom))
    forms = [f"{top}/{bottom}", f"{top} / {bottom}"]
    forms.append(f"{'-' if top < 0 else ''}\\frac{{{abs(top)}}}{{{bottom}}}")
    for form in forms:
        assert judge(marker.format(form), gold, "numeric").outcome == "correct", form
        assert judge(marker.format(form), f"{top}/{bottom + 1}", "numeric").outcome == (
            "wrong" if top else "correct"
        )


@settings(max_examples=200, deadline=None)
@given(integers, integers, st.sampled_from([" or ", " and ", ", ", " to ", " – ", "-"]))
def test_two_values_decide_nothing(a, b, link):
    if a != b and b >= 0:
        verdict = judge(f"The answer is {a}{link}{b}.", str(a), "numeric")
        assert verdict.outcome == "no_answer", verdict


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 10**6), st.sampled_from("+-*/"))
def test_operands_of_a_chain_cut_off_are_never_credited(a, b, operator):
    for ending in (f"{a} {operator} {b} =", f"{a} {operator} {b}", f"{a} {operator}", f"${a} ="):
        for gold in (a, b):
            verdict = judge(f"She counts them. So she has {ending}", str(gold), "numeric")
            assert verdict.outcome == "no_answer", (ending, verdict)
            unfinished = judge(f"So she has {ending}", str(gold), "numeric", finished=False)
            assert unfinished.outcome == "truncated"


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9))
def test_float_noise_is_forgiven_against_whole_gold(number):
    assert (
        judge(f"The answer is {number + 0.0004:.4f}.", str(number), "numeric").outcome == "correct"
    )
    assert judge(f"The answer is {number + 0.002:.3f}.", str(number), "numeric").outcome == "wrong"


@settings(deadline=None)
@given(st.decimals(-10000, 10000, places=4), st.decimals(-10000, 10000, places=4))
def test_same_quantity_is_symmetric_between_decimals(a, b):
    left, right = Quantity(Fraction(a), True), Quantity(Fraction(b), True)
    if left.integral == right.integral:
        assert same_quantity(left, right) == same_quantity(right, left)
    assert same_quantity(left, left)


@settings(deadline=None)
@given(st.fractions())
def test_canonical_form_reads_back(value):
    for as_decimal in (True, False):
        text = canonical(value, as_decimal=as_decimal)
        assert judge(f"The answer is {text}.", str(value), "numeric").outcome == "correct"


WORDS = {0: "zero", 7: "seven", 12: "twelve", 25: "twenty-five", 100: "a hundred"} | {
    212: "two hundred twelve",
    340: "three hundred and forty",
    1001: "one thousand one",
    20300: "twenty thousand three hundred",
    1500000: "one million five hundred thousand",
}


@pytest.mark.parametrize(("number", "words"), WORDS.items())
def test_number_words(number, words):
    (token,) = quantity_tokens(words)
    assert token.value == number
    assert judge(f"The answer is {words} dollars.", str(number), "numeric").outcome == "correct"
    assert judge(f"The answer is minus {words}.", str(-number), "numeric").outcome == "correct"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("half", "1/2"),
        ("one half", "1/2"),
        ("a quarter", "1/4"),
        ("three quarters", "3/4"),
        ("two thirds", "2/3"),
        ("two and a half", "5/2"),
        ("two and three quarters", "11/4"),
        ("three point five", "7/2"),
        ("1.8 billion", "1800000000"),
        ("5 dollars and 25 cents", "21/4"),
        ("$5 and 25 cents", "21/4"),
        ("1 1/2", "3/2"),
        ("1½", "3/2"),
        ("18th", "18"),
        ("twice", "2"),
        ("3.2e5", "320000"),
        ("3.2 × 10^5", "320000"),
        ("3.2 x 10⁵", "320000"),
    ],
)
def test_other_ways_of_writing_numbers(words, value):
    verdict = judge(f"The answer is {words}.", value, "numeric")
    assert verdict.outcome == "correct", verdict


OPTIONS = ["ocean", "sea shell", "pool table", "auditorium", "body of water"]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from(["({})", "{}", "{}.", "{})", "[{}]", "option {}", "**({})**", "\\boxed{{{}}}"]),
    st.booleans(),
    st.sampled_from(["So the answer is ", "Answer: ", "**Answer**: ", "The correct option is "]),
)
def test_ways_of_writing_a_choice(chosen, gold, form, small, marker):
    letter = "abcde"[chosen] if small else "ABCDE"[chosen]
    gold_letter = "ABCDE"[gold]
    expected = "correct" if chosen == gold else "wrong"
    texts = [marker + form.format(letter), marker + OPTIONS[chosen] + "."]
    texts.append(f"{marker}({letter}) {OPTIONS[chosen]}.\n\nQ: Next?\nAnswer Choices:\n(a) x")
    texts.append(f"{marker}the {OPTIONS[chosen].upper()}")
    for text in texts:
        verdict = judge(text, gold_letter, "choice", choices=OPTIONS)
        assert verdict.outcome == expected, (text, verdict)


@settings(max_examples=100, deadline=None)
@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from([str, str.upper, str.title]),
    st.sampled_from(
        ["The answer is {}.", "So the answer is **{}**.", "{}.", '"{}".', "{}, it is."]
    ),
    st.sampled_from([("no", "yes"), ("false", "true")]),
)
def test_ways_of_writing_yes_and_no(said, gold, case, form, words):
    text = form.format(case(words[said]))
    verdict = judge(text, ("no", "yes")[gold], "yes_no")
    assert verdict.outcome == ("correct" if said == gold else "wrong"), (text, verdict)


@settings(max_examples=100, deadline=None)
@given(st.dates(min_value=datetime.date(1000, 1, 1)), st.sampled_from(MARKERS[:9]))
def test_ways_of_writing_a_date(day, marker):
    gold = f"{day:%m/%d}/{day.year:04d}"
    for form in (
        f"{day.month}/{day.day}/{day.year}",
        day.isoformat(),
        f"{day:%B} {day.day}, {day.year}",
    ):
        assert judge(marker.format(form), gold, "date").outcome == "correct", form
        assert judge(marker.format(form), "02/29/1996", "date").outcome == (
            "correct" if gold == "02/29/1996" else "wrong"
        )
