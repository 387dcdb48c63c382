"""The harness' own rules, faults included."""

from __future__ import annotations

import pytest

from t5distill.verify import flexible_extract, strict_match


@pytest.mark.parametrize(
    ("text", "gold", "strict", "flexible"),
    [
        ("#### 18", "18", True, True),
        ("The answer is 18.", "18", True, True),
        ("the answer is 18.", "18", False, True),  # case matters to the strict rule
        ("The answer is 18", "18", False, True),  # it wants one more character, and takes the 8
        ("The answer is $18.", "18", False, True),
        ("The answer is 1,080.", "1080", True, True),
        ("#### 1,080", "1,080", True, True),
        ("The answer is 18.0.", "18", False, False),  # text, not value
        ("#### -5", "-5", True, True),
        ("The answer is 5. The answer is 6.", "5", True, False),  # the first, and the last
        ("She has 18 eggs left.", "18", False, True),
        ("No number here", "18", False, False),
        ("", "18", False, False),
        ("The answer is 18.\n\nQ: 1 + 1?\nA: The answer is 2.", "18", True, True),
        ("#### 18\n\nQuestion: what is 1 + 1?", "18", True, True),
        ("The answer is eighteen.", "18", False, False),
        ("The answer is 18 dollars for 2 days.", "18", True, False),
    ],
)
def test_numeric(text, gold, strict, flexible):
    assert strict_match(text, gold, "numeric") is strict
    assert flexible_extract(text, gold, "numeric") is flexible


@pytest.mark.parametrize(
    ("text", "gold", "kind", "strict", "flexible"),
    [
        ("So the answer is (B).", "B", "choice", True, True),
        ("So the answer is B.", "B", "choice", True, True),
        ("So the answer is (b).", "B", "choice", True, False),
        ("So the answer is (B) park.", "B", "choice", False, True),
        ("So the answer is yes.", "yes", "yes_no", True, True),
        ("So the answer is No.", "no", "yes_no", True, True),
        ("Yes.", "yes", "yes_no", False, True),
        ("So the answer is nk.", "nk", "string", True, False),
        ("nk", "nk", "string", False, True),
        ("So the answer is 05/01/2021.", "05/01/2021", "date", True, False),
    ],
)
def test_other_kinds(text, gold, kind, strict, flexible):
    assert strict_match(text, gold, kind) is strict
    assert flexible_extract(text, gold, kind) is flexible
