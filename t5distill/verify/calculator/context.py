"""What the words around an expression say of it: that they take it whole, in part, or make more.

"Half of 10 + 2", "10% of his 50 + 50", "the remainder of 17 / 5", "2 hours 30 minutes * 2", "3
squared": what such words apply to nobody can say, so only agreement counts.
"""

from __future__ import annotations

from fractions import Fraction

from t5distill.verify.calculator.memory import LABELS
from t5distill.verify.calculator.results import number_of
from t5distill.verify.chains import MAGNITUDES, Chain, Segment
from t5distill.verify.numberwords import PARTS_AFTER_FIGURES, STARTS
from t5distill.verify.tokens import Token, words

_LABELS = frozenset(
    form
    for label in LABELS.split()
    for form in ((label[:-2], label[:-2] + "s") if label.endswith("s?") else (label,))
)
_SEVERAL_PARTS = frozenset(PARTS_AFTER_FIGURES) | frozenset(
    words("twelfths fifteenths sixteenths twentieths hundredths thousandths")
)
_PARTS = _SEVERAL_PARTS | {p.removesuffix("s") for p in _SEVERAL_PARTS - {"halves"}}
_PARTS |= {"half", "quarter", "quarters"}
# Right before an expression (or with "of", "the", "his" between) these take all of it, or a part.
_SCALES = frozenset(
    words(
        "twice double triple thrice quadruple percent percents percentage times plus minus "
        "negative divided multiplied over less than root sqrt square cube cubed squared abs max "
        "min floor ceil ceiling average mean median gcd lcm hcf per mod modulo part share portion "
        "rounded choose ncr npr"
    )
)
_SCALES |= _PARTS | MAGNITUDES | {f"{m}s" for m in MAGNITUDES}
# These only right before it, or with "of": "she will log a total of 7 * 2".
_FUNCTIONS = frozenset(words("log ln sin cos tan"))
# And these before a quotient only: the remainder of 9 - 4 is a rest.
_OF_QUOTIENTS = frozenset(words("remainder quotient"))
_COUNTS = STARTS - frozenset(words("a an half once"))
# "twenty 5 + 3"; but "two 50/2 feet long" are two of them.
_TENS = frozenset(words("twenty thirty forty fifty sixty seventy eighty ninety"))
# What stands before one of many that has no number: "each day".
_NAMING = frozenset(words("that this each every per another same next last"))
_POSSESSIVES = frozenset(words("my your his her its our their whose"))
_BETWEEN = _POSSESSIVES | frozenset(
    words(
        "of off from the a by an these those this that all up down out remaining original other "
        "total sum same initial first whole full entire new old amount number numbers value price "
        "cost"
    )
)
_SHARING = frozenset(words("of off on"))
# A line that ends in one of these may go on in the next.
GOES_ON = frozenset(words("of plus minus times by over and the half twice double triple negative"))
_BETWEEN_AT_MOST = 5
_VERBS = ("multipl", "divid", "add", "subtract", "tak", "ratio")
# Words at which `after_word` looks at what stands before them, too; by no more words than these.
LOOKS_BACK = _BETWEEN | frozenset(words("and as by in on to"))
REACH = 12

# Where a quotient is meant whole, or what it leaves.
_WHOLE = frozenset(
    words(
        "remainder remainders quotient mod modulo floor ceiling ceil integer truncated round "
        "rounded rounding full"
    )
)
# After an operand these make another number of it: "3 squared", "10 percent", "7 / 2 rounded".
_AFTER_OPERAND = (
    frozenset(
        words(
            "squared cubed doubled tripled halved percent percents pct rounded truncated floored "
            "factorial tens mod modulo choose"
        )
    )
    | _SEVERAL_PARTS
)
# "2 hours 30 minutes", "3 dollars and 50 cents", "5 feet 3 inches", "3 lbs 4 oz".
_MEASURES = frozenset(
    words(
        "hour hr h minute min second sec day week month year decade foot feet ft inch inche "
        "inches in yard yd mile mi pound lb ounce oz ton stone gallon gal quart qt pint pt cup "
        "dollar buck cent penny pennie pence nickel dime quarter euro kilogram kg gram g kilometer "
        "km kilometre meter metre m centimeter centimetre cm millimeter mm liter litre l ml dozen"
    )
)


def _singular(unit: str) -> str:
    return unit.removesuffix("s") if len(unit) > 2 else unit


def _is_measure(token: Token) -> bool:
    return token.kind == "word" and _singular(token.text) in _MEASURES


def doubtful_after_word(tokens: list[Token], i: int, chain: Chain) -> bool:
    """Tell whether the word `tokens[i]`, right before a chain, may apply to its head."""
    word, head = tokens[i].text, tokens[chain.first]
    previous = tokens[i - 1] if i else None
    if head.kind == "open" and tokens[i].end == head.start:
        return True  # "round(7 / 2)", "frac{3}{4}"
    named = previous is not None and previous.text in _NAMING
    if word in _LABELS and head.kind == "number" and not named:
        return True  # "Step 2 - 3 + 4 = 7", but not "On that day 3 + 4 = 7"
    if len(word) == 1 and word not in "ai":
        return True  # "x (3 + 4)"
    counted = previous is not None and (previous.kind == "number" or previous.text in STARTS)
    if word == "and" and counted:
        return True  # "the sum of 5 and 3 * 2", "two and 1/2 * 4"
    if word == "in" and counted and chain.segments[0].operators[:1] in (["*"], ["/"]):
        return True  # "3 in 5 * 100", but not "he will be 24 in 24 - 6 years"
    if word == "as" and i > 1 and tokens[i - 2].text == "as":
        return True  # "3 times as many as 5 * 2"
    if word.rpartition("-")[2] in _TENS or _compound(tokens, i, chain):
        return True
    return _applied(tokens, i, chain.segments[0])


def _applied(tokens: list[Token], i: int, segment: Segment) -> bool:
    """Tell whether what stands at `i` or before words like "of his" scales what follows."""
    end, shares = i, False
    while True:
        word = tokens[i].text
        if word.rpartition("-")[2] in _SCALES or (word in _FUNCTIONS and end - i <= 1):
            return True  # "half", "two-thirds"
        if word in _OF_QUOTIENTS and "/" in segment.operators:
            return True
        if word in ("by", "to", "from") and any(
            t.text.startswith(_VERBS) for t in tokens[max(0, i - 5) : i + 1]
        ):
            return True
        if word == "off" and i and tokens[i - 1].kind == "number":
            return True  # "$10 off 50 - 5"
        if word in _SHARING and any(
            t.kind in ("number", "bad")
            if word == "of"
            else t.kind == "percent" or t.text == "percent"
            for t in tokens[max(0, i - 3) : i]
        ):
            return True
        shares |= word == "of"
        between = (word in _BETWEEN and (shares or word != "cost")) or word.endswith(("'s", "s'"))
        if not between or not i or end - i >= _BETWEEN_AT_MOST:
            break
        i -= 1
    # "three out of 5 * 10"
    return shares and tokens[i].text in _COUNTS


def _compound(tokens: list[Token], i: int, chain: Chain) -> bool:
    """Tell whether the head of a chain is the second part of "2 hours and 30 minutes"."""
    while i > 0 and tokens[i].text in ("and", ","):
        i -= 1
    if i < 1 or not _is_measure(tokens[i]) or tokens[chain.first].kind != "number":
        return False
    if tokens[i - 1].kind != "number" and tokens[i - 1].text not in _COUNTS:
        return False
    # "In 10 hours 5 * 10 = 50 degrees": the second quantity has its own measure, too.
    return chain.first + 1 < len(tokens) and _is_measure(tokens[chain.first + 1])


def compound_before_comma(tokens: list[Token], i: int, chain: Chain) -> bool:
    """Tell whether the head of a chain is the second part of "2 hours, 30 minutes"."""
    return tokens[i].text == "," and _compound(tokens, i, chain)


def means_otherwise(segment: Segment) -> bool:
    """Tell whether a word after an operand may make another number of it: "3 squared"."""
    if any(word in _AFTER_OPERAND for word in segment.words):
        return True
    if "per" in segment.words and "cent" in segment.words:
        return True
    # Three quarters may be a part; more of them are coins, and "3 fifth graders" are three.
    parts, operators = segment.words, segment.operators
    if not parts or parts[0] not in ("quarters", *_PARTS) or operators[:1] not in ([], ["*"]):
        return False
    few = 3 if parts[0] == "quarters" else 1
    return segment.words[1:2] == [] and number_of(segment.numbers[0]) <= few


def whole_is_meant(tokens: list[Token], chain: Chain, segment: Segment, value: Fraction) -> bool:
    """Tell whether a quotient may be meant whole: "the number of full boxes is 17 / 5"."""
    if value.denominator == 1 or not any(t.text == "/" for t in segment.tokens):
        return False
    after = ""
    for t in reversed(tokens[max(0, chain.first - REACH) : chain.first]):
        if t.kind == "break" and t.text in ".!?;\n":
            return False
        if t.text in _WHOLE or (t.text == "whole" and after in ("number", "numbers", "part")):
            return True
        after = t.text
    return False
