"""What the widely used rules of lm-evaluation-harness would have said, beside our own verdict.

Reported so that results can be held against others'; nothing is decided by them. The rules of its
tasks `gsm8k` and `gsm8k_cot` (version 3) are followed to the letter, their faults included: of
"$1,080.50." the strict rule reads all, of "1,080 or 2,080" the flexible rule the second.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_HASHES = re.compile(r"#### (\-?[0-9\.\,]+)")
_ANSWER_IS = re.compile(r"The answer is (\-?[0-9\.\,]+).")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
# The harness stops generation at these, so a run-on text would never have reached its filters.
_STOPS = ("Q:", "Question:", "</s>", "<|im_end|>")

# For other kinds: the rule of its tasks `bbh_cot_fewshot_*`, whose targets are "(A)", "yes", ...
_ANSWER_TEXT = re.compile(r"(?<=the answer is )(.*)(?=.)")
_LETTER = re.compile(r"\(([A-Z])\)|\b([A-Z])\b")
_YES_NO = re.compile(r"\b(yes|no|true|false)\b", re.IGNORECASE)


def strict_match(text: str, gold: str, kind: str, choices: Sequence[str] | None = None) -> bool:
    """Tell whether either strict rule of the harness would count the text as right.

    Numeric: the first `#### N` (task `gsm8k`) or the first "The answer is N" (task `gsm8k_cot`),
    equal to the gold text but for commas, dollar signs and a final point. Our own chains end in
    "The answer is N", those of GSM8K's authors in `#### N`; a text is counted where one of the two
    rules matches. Other kinds: what follows the first "the answer is " (tasks `bbh_cot_fewshot`),
    without the last character, equal to the gold text, ignoring case; for a choice to its letter,
    in brackets or bare, since those tasks differ.

    Args:
      text: what the model wrote.
      gold: the gold answer.
      kind: one of `records.KINDS`.
      choices: unused; here so that every judge of this package is called alike.
    """
    del choices
    text = _stopped(text)
    if kind == "numeric":
        found = (_HASHES.search(text), _ANSWER_IS.search(text))
        return any(m is not None and _exact(m[1], gold) for m in found)
    answer = _ANSWER_TEXT.search(text)
    return answer is not None and answer[1].strip().lower() in _targets(gold, kind)


def flexible_extract(text: str, gold: str, kind: str, choices: Sequence[str] | None = None) -> bool:
    """Tell whether the flexible rule of the harness would count the text as right.

    Numeric: the last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)`, equal to the gold text but for commas,
    dollar signs and a final point. Choice and yes_no: the last capital letter that stands alone, in
    or out of brackets, and the last yes or no. Other kinds: the last non-empty line.

    Args:
      text: what the model wrote.
      gold: the gold answer.
      kind: one of `records.KINDS`.
      choices: unused; here so that every judge of this package is called alike.
    """
    del choices
    text = _stopped(text)
    if kind == "numeric":
        groups = _FLEXIBLE.findall(text)
        return bool(groups) and _exact(next(g for g in groups[-1] if g), gold)
    if kind == "choice":
        letters = _LETTER.findall(text)
        return bool(letters) and "".join(letters[-1]).lower() in _targets(gold, kind)
    if kind == "yes_no":
        words = _YES_NO.findall(text)
        return bool(words) and words[-1].lower() in _targets(gold, kind)
    lines = text.strip().rsplit("\n", 1)
    return lines[-1].strip().lower() in _targets(gold, kind)


def _stopped(text: str) -> str:
    return text[: min((i for i in map(text.find, _STOPS) if i >= 0), default=len(text))]


def _exact(answer: str, gold: str) -> bool:
    """Compare as `exact_match` does with `regexes_to_ignore` of these tasks."""
    return _ignoring(answer) == _ignoring(gold)


def _ignoring(text: str) -> str:
    # The third pattern there, `(?s).*#### `, is quadratic as an expression; this does the same.
    text = text.replace(",", "").replace("$", "").rpartition("#### ")[2]
    return text.removesuffix(".").lower()


def _targets(gold: str, kind: str) -> set[str]:
    gold = gold.strip().lower()
    return {gold, f"({gold})"} if kind == "choice" else {gold}
