"""Numbers written as words: "two hundred twelve", "twenty-five", "a half", "two and a half"."""

from __future__ import annotations

from fractions import Fraction

from t5distill.verify.tokens import words

_SMALL = {
    word: Fraction(i)
    for i, word in enumerate(
        words(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
            "fifteen sixteen seventeen eighteen nineteen"
        )
    )
}
_TENS = {
    word: Fraction(10 * i)
    for i, word in enumerate(
        words("twenty thirty forty fifty sixty seventy eighty ninety"), start=2
    )
}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Scales as they follow figures: "5 bn", "2 lakh", "3 millions".
SCALES_AFTER_FIGURES = {
    **SCALES,
    **{f"{name}s": value for name, value in SCALES.items()},
    **{"hundred": 100, "hundreds": 100, "bn": 10**9, "lakh": 10**5, "lakhs": 10**5},
    **{"crore": 10**7, "crores": 10**7},
}
# Parts as they follow figures: "5 thirds". Quarters are left out: more often they are coins.
PARTS_AFTER_FIGURES = {
    **{"halves": 2, "thirds": 3, "fourths": 4, "fifths": 5, "sixths": 6, "sevenths": 7},
    **{"eighths": 8, "ninths": 9, "tenths": 10},
}
_PARTS = {
    **{"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4},
    **{"fourth": 4, "fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6},
    **{"seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10},
}
_ALONE = {"once": 1, "twice": 2, "thrice": 3}
# Every number begins with one of these; most words of a text do not.
STARTS = frozenset([*_SMALL, *_TENS, *_ALONE, "a", "an", "half"])


def read_words(parts: list[str]) -> tuple[Fraction, int] | None:
    """Read the longest number at the start of `parts` (small letters, hyphens split).

    Returns:
      its value and how many words it took, or None where no number starts here.
    """
    whole = _whole(parts)
    if whole is None:
        return _fraction_alone(parts)
    value, used = whole
    rest = parts[used:]
    if rest[:1] and rest[0] in _PARTS and rest[0] not in ("third", "fourth", "fifth", "sixth"):
        return value / _PARTS[rest[0]], used + 1  # "three quarters"
    if value == 1 and rest[:1] and rest[0] in _PARTS:
        return Fraction(1, _PARTS[rest[0]]), used + 1  # "one third"
    if rest[:1] == ["point"]:
        digits = []
        for word in rest[1:]:
            if word not in _SMALL or _SMALL[word] > 9:
                break
            digits.append(str(_SMALL[word]))
        if digits:
            return value + Fraction("0." + "".join(digits)), used + 1 + len(digits)
    if rest[:1] == ["and"] and (part := _fraction_alone(rest[1:])):
        return value + part[0], used + 1 + part[1]  # "two and a half"
    if rest[:1] == ["and"] and len(rest) > 2 and rest[1] in _SMALL and rest[2] in _PARTS:
        part_value = _SMALL[rest[1]] / _PARTS[rest[2]]
        if 0 < part_value < 1:
            return value + part_value, used + 3  # "two and three quarters"
    return value, used


def _fraction_alone(parts: list[str]) -> tuple[Fraction, int] | None:
    """Read "half", "a half", "a quarter", or "twice" where nothing follows it."""
    if parts[:1] == ["half"]:
        return Fraction(1, 2), 1
    if parts[:1] in (["a"], ["an"]) and parts[1:2] and parts[1] in _PARTS:
        return Fraction(1, _PARTS[parts[1]]), 2
    if len(parts) == 1 and parts[0] in _ALONE:
        return Fraction(_ALONE[parts[0]]), 1
    return None


def _whole(parts: list[str]) -> tuple[Fraction, int] | None:
    """Read a whole number."""
    total, group, used, last_scale = Fraction(0), None, 0, 10**15
    i = 0
    if parts[:1] in (["a"], ["an"]):
        if parts[1:2] and (parts[1] in SCALES or parts[1] in ("hundred", "dozen")):
            if parts[1] == "dozen":
                return Fraction(12), 2
            group, i = Fraction(1), 1
        else:
            return None
    while i < len(parts):
        word = parts[i]
        if word in _SMALL and (group is None or _takes(group, _SMALL[word])):
            group = (group or 0) + _SMALL[word]
        elif word in _TENS and (group is None or (group and group % 100 == 0)):
            group = (group or 0) + _TENS[word]
        elif word == "hundred" and group is not None and 0 < group < 100:
            group *= 100
        elif word in SCALES and group is not None and SCALES[word] < last_scale:
            total, last_scale, group = total + group * SCALES[word], SCALES[word], None
        elif word == "and" and used and parts[i - 1] in (*SCALES, "hundred"):
            i += 1
            continue
        else:
            break
        i += 1
        used = i
    return (total + (group or 0), used) if used else None


def _takes(group: Fraction, unit: Fraction) -> bool:
    """Tell whether a number below twenty may follow what has been read ("twenty" + "five")."""
    if group and group % 100 == 0:
        return True
    return group % 10 == 0 and group % 100 >= 20 and 0 < unit < 10
