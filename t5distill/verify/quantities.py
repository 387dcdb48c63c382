"""A quantity read out of text: an exact value, and whether it was written with decimals."""

from __future__ import annotations

import dataclasses
import decimal
from fractions import Fraction

from t5distill.verify import arithmetic, numberwords, plain
from t5distill.verify.tokens import MAX_DIGITS, Number, Token, tokenize, words

# "the one", "one of them", "another one": a pronoun, not the number.
_BEFORE_PRONOUN = frozenset(
    words("the this that each every which no any another other last first correct right same")
)
_AFTER_PRONOUN = frozenset(words("of who that which with whose where another by"))
_DOLLARS = frozenset(words("dollar dollars euro euros pound pounds buck bucks usd eur gbp"))
_CENTS = frozenset(words("cent cents penny pennies pence p c ¢"))
_SIGN_WORDS = frozenset(("minus", "negative"))


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number with its exact value.

    Attributes:
      value: a Fraction, or a Decimal (exact too) where it has more than `tokens.MAX_DIGITS` digits.
      decimal: whether it was written with decimals, so that it may be rounded.
    """

    value: Number
    decimal: bool = False

    @property
    def integral(self) -> bool:
        """Whether the value is a whole number."""
        if isinstance(self.value, Fraction):
            return self.value.denominator == 1
        exponent = self.value.as_tuple().exponent
        return isinstance(exponent, int) and exponent >= 0

    def __str__(self) -> str:
        if isinstance(self.value, decimal.Decimal):
            return str(self.value)
        return canonical(self.value, as_decimal=self.decimal)


def negated(value: Number) -> Number:
    """Return the negative of a value, exactly: `-` would round a Decimal to 28 digits."""
    return value.copy_negate() if isinstance(value, decimal.Decimal) else -value


def canonical(value: Fraction, *, as_decimal: bool) -> str:
    """Write a value: an integer, a decimal where that is asked and it ends, else `n/d`."""
    numerator, denominator = abs(value.numerator), value.denominator
    sign = "-" if value < 0 else ""
    if denominator == 1:
        return sign + _digits(numerator)
    decimals, rest = 0, denominator
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        decimals = max(decimals, count)
    if not as_decimal or rest != 1 or decimals > MAX_DIGITS:
        return f"{sign}{_digits(numerator)}/{_digits(denominator)}"
    digits = _digits(numerator * 10**decimals // denominator).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:].rstrip('0')}"


def _digits(number: int) -> str:
    # str() refuses integers above Python's digit limit; Decimal does not.
    return str(decimal.Decimal(number)) if number.bit_length() > 12000 else str(number)


def quantity_tokens(text: str) -> list[Token]:
    """Return the tokens of a plain text with every quantity joined into one token.

    Joined are number words, magnitudes ("1.8 billion"), mixed numbers, fractions written without
    spaces, compound money ("5 dollars and 25 cents"), and signs written as words.
    """
    tokens = tokenize(plain.arithmetic(text))
    tokens = _join_halves(_join_number_words(tokens))
    tokens = arithmetic.with_mixed_numbers(_join_magnitudes(tokens))
    return _join_money(_join_fractions(tokens))


def _join_number_words(tokens: list[Token]) -> list[Token]:
    joined: list[Token] = []
    i = 0
    while i < len(tokens):
        token, taken = _number_words_at(tokens, i)
        if token is None:
            token, taken = tokens[i], 1
            if token.text in _SIGN_WORDS and token.kind == "word" and _number_starts(tokens, i + 1):
                token = token._replace(kind="op", text="-", end=tokens[i + 1].start)
        joined.append(token)
        i += taken
    return joined


def _number_starts(tokens: list[Token], i: int) -> bool:
    if i >= len(tokens):
        return False
    return tokens[i].kind in ("number", "currency") or _number_words_at(tokens, i)[0] is not None


def _number_words_at(tokens: list[Token], i: int) -> tuple[Token | None, int]:
    """Read number words at `i`: a number token and how many tokens it takes, or None and 0."""
    if tokens[i].kind != "word" or tokens[i].text.partition("-")[0] not in numberwords.STARTS:
        return None, 0
    parts: list[str] = []
    owners: list[int] = []
    for j in range(i, min(i + 20, len(tokens))):
        if tokens[j].kind != "word":
            break
        for part in tokens[j].text.split("-"):
            parts.append(part)
            owners.append(j)
    found = numberwords.read_words(parts) if parts else None
    if found is None:
        return None, 0
    value, used = found
    last = owners[used - 1]
    if used < len(owners) and owners[used] == last:
        return None, 0  # "five-year": the number is part of a longer word
    if parts[:used] == ["one"] and _is_pronoun(tokens, i):
        return None, 0
    text = " ".join(parts[:used])
    start, end = tokens[i].start, tokens[last].end
    return Token("number", text, start, end, value, "point" in parts[:used]), last + 1 - i


def _is_pronoun(tokens: list[Token], i: int) -> bool:
    before = tokens[i - 1].text if i else ""
    after = tokens[i + 1].text if i + 1 < len(tokens) else ""
    return before in _BEFORE_PRONOUN or after in _AFTER_PRONOUN


def _join_magnitudes(tokens: list[Token]) -> list[Token]:
    """Join "1.8 billion" and "5 thirds"; number words have taken theirs already.

    A letter after money ("$5 k") may be a scale or not: nobody can read that.
    """
    joined: list[Token] = []
    for token in tokens:
        last = joined[-1] if joined else None
        if token.kind != "word" or last is None or last.exact is None:
            joined.append(token)
        elif scale := numberwords.SCALES_AFTER_FIGURES.get(token.text):
            joined[-1] = last._replace(value=last.exact * scale, end=token.end)
        elif part := numberwords.PARTS_AFTER_FIGURES.get(token.text):
            joined[-1] = last._replace(value=last.exact / part, end=token.end)
        elif token.text in ("k", "m", "b") and joined[-2:-1] and joined[-2].kind == "currency":
            joined[-1] = Token("bad", last.text, last.start, token.end)
        else:
            joined.append(token)
    return joined


def _join_halves(tokens: list[Token]) -> list[Token]:
    """Join "5 and a half"; with the whole in words, number words have taken theirs already."""
    joined: list[Token] = []
    for token in tokens:
        in_words = token.kind == "number" and token.text[0].isalpha()
        part = token.exact if in_words and [t.text for t in joined[-1:]] == ["and"] else None
        whole = joined[-2].exact if part and len(joined) > 1 and not joined[-2].decimal else None
        if part and part < 1 and whole is not None and whole.denominator == 1:
            joined[-2:] = [joined[-2]._replace(value=whole + part, end=token.end)]
        else:
            joined.append(token)
    return joined


def _join_fractions(tokens: list[Token]) -> list[Token]:
    """Join `3/4` written without spaces; `1/2/2020` and `3/0` become unreadable."""
    joined: list[Token] = []
    i = 0
    while i < len(tokens):
        run = [tokens[i]]
        while tokens[i].kind == "number" and _tight_division(tokens, i + len(run) - 1):
            run += tokens[i + len(run) : i + len(run) + 2]
        joined.append(_fraction(run) if len(run) > 1 else run[0])
        i += len(run)
    return joined


def _tight_division(tokens: list[Token], i: int) -> bool:
    parts = tokens[i : i + 3]
    if [t.kind for t in parts] != ["number", "op", "number"] or parts[1].text != "/":
        return False
    return parts[0].end == parts[1].start and parts[1].end == parts[2].start


def _fraction(run: list[Token]) -> Token:
    text = "".join(t.text for t in run)
    top, bottom = run[0].exact, run[-1].exact
    if len(run) > 3 or top is None or not bottom:
        return Token("bad", text, run[0].start, run[-1].end)
    has_decimals = run[0].decimal or run[-1].decimal
    return Token("number", text, run[0].start, run[-1].end, top / bottom, has_decimals)


def _join_money(tokens: list[Token]) -> list[Token]:
    """Join "5 dollars and 25 cents" and "$5 and 25 cents" into one number of dollars."""
    joined: list[Token] = []
    i = 0
    while i < len(tokens):
        found = _money_at(tokens, i)
        if found is None:
            joined.append(tokens[i])
            i += 1
        else:
            token, taken = found
            joined.append(token)
            i += taken
    return joined


def _money_at(tokens: list[Token], i: int) -> tuple[Token, int] | None:
    dollars = tokens[i]
    if dollars.kind != "number" or not isinstance(dollars.value, Fraction):
        return None
    j = i + 1
    named = j < len(tokens) and tokens[j].text in _DOLLARS
    if named:
        j += 1
    elif not (i and tokens[i - 1].kind == "currency"):
        return None
    if j < len(tokens) and tokens[j].text == ",":
        j += 1
    if j < len(tokens) and tokens[j].text == "and":
        j += 1
    if j + 1 >= len(tokens) or tokens[j + 1].text not in _CENTS:
        return None
    cents = tokens[j]
    if cents.kind != "number" or not isinstance(cents.value, Fraction) or cents.value >= 100:
        return None
    value = dollars.value + cents.value / 100
    token = Token("number", "money", dollars.start, tokens[j + 1].end, value, True)
    return token, j + 2 - i


def same_quantity(answer: Quantity, gold: Quantity) -> bool:
    """Tell whether an answer is the gold one, under the answer policy.

    Integers and fractions compare exactly, at any size. Where either is written with decimals they
    compare within a relative 1e-4 of the larger, and against a whole gold number within an absolute
    1e-3, which forgives float noise. Nothing is ever scaled by 100.
    """
    if isinstance(answer.value, Fraction) and isinstance(gold.value, Fraction):
        if answer.value == gold.value:
            return True
        if not (answer.decimal or gold.decimal):
            return False
        difference = abs(answer.value - gold.value)
        if gold.integral:
            return difference <= Fraction(1, 1000)
        return difference <= max(abs(answer.value), abs(gold.value)) / 10000
    left, right = _as_decimal(answer.value), _as_decimal(gold.value)
    if left == right:
        return True
    if not (answer.decimal or gold.decimal):
        return False
    with decimal.localcontext() as context:
        context.prec, context.Emax, context.Emin = 40, decimal.MAX_EMAX, decimal.MIN_EMIN
        context.clear_traps()
        difference = abs(left - right)
        if gold.integral:
            return difference <= decimal.Decimal("0.001")
        return difference <= max(abs(left), abs(right)) / 10000


def _as_decimal(value: Number) -> decimal.Decimal:
    if isinstance(value, decimal.Decimal):
        return value
    with decimal.localcontext() as context:
        context.prec, context.Emax, context.Emin = MAX_DIGITS, decimal.MAX_EMAX, decimal.MIN_EMIN
        context.clear_traps()
        if value.denominator == 1:
            return decimal.Decimal(value.numerator)
        return decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)
