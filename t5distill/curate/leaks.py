"""Chains that give away that the teacher was shown the answer.

Magister et al. 2022 (section 3) show the teacher the gold answer, which repairs small slips, and
invites chains that take the answer as given: they are right, and teach the student nothing that
it could do by itself. Two signs are looked for: words that speak of the answer that was shown, and
an answer stated before anything leads to it.
"""

from __future__ import annotations

import re

from t5distill.curate.texts import tokens
from t5distill.records import Problem
from t5distill.verify import judge
from t5distill.verify.execution import executed_style
from t5distill.verify.markers import marked_pieces
from t5distill.verify.plain import plain

_SHOWN = r"(?:given|provided|supplied|shown|stated)"
_KNOWN = rf"(?:{_SHOWN}|known|gold|golden|reference|expected)"
# "The answer is given by 5 + 3", "is given in hours": there it is the teacher who gives it.
_NOT_HERE = r"(?!\ (?:by|in|as\ follows|below|above|here)\b)"
_SPOKEN_OF = re.compile(
    rf"""
      \b(?:as|since|because)\ the\ answer\ (?:is|was)\ (?:already\ )?{_SHOWN}\b{_NOT_HERE}
    | \b{_KNOWN}\ (?:(?:correct|right|final)\ )?answer\b(?!\ (?:choice|option|format|is\ an?\b))
    | \banswer\ (?:(?:that\ )?(?:is|was|you)\ )?(?:{_SHOWN}|gave)\b{_NOT_HERE}
    | \b(?:correct|right|final)\ answer\ (?:is|was)\ (?:already\ )?{_SHOWN}\b{_NOT_HERE}
    | \banswer\ key\b
    | \b(?:knowing|given|granted|told)\ (?:that\ )?the\ (?:(?:correct|right|final)\ )?answer
      \ (?:is|was|must\ be|should\ be)\b(?!\ in\b)
    | \bwork(?:ing)?\ back(?:wards?)?\ from\ the\ (?:(?:correct|right|final)\ )?answer\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HINT = re.compile(r"\b(?:the|this|that|your)\ hint\b|\bas\ hinted\b", re.IGNORECASE | re.VERBOSE)

# So few words, the mark's own among them, lead to nothing; so many behind the answer are reasons
# given afterwards.
_FEW_WORDS = 12
_SOME_WORDS = 6

# "#### 1. Find what is left" is a heading.
_HEADING = re.compile(r"\d{1,3}[.):]\s+[A-Z]")
_CONDITION = re.compile(r"\bif\b", re.IGNORECASE)
_OPTION = re.compile(r"\(?([A-Za-z])\)? (?:is|seems) (?:the )?(?:correct|right)\b")

# The number of a step or of a variable, and numbers that everybody knows, are no answers.
_NUMBERING = re.compile(
    r"^\W*(?:step|part)?\s*\d{1,3}\s*[.):]\s*|\b(?:step|part|[a-z])\s?_?\d{1,3}\b",
    re.IGNORECASE | re.MULTILINE,
)
_CONSTANTS = frozenset(("1", "2", "7", "10", "12", "24", "30", "60", "100", "365", "1000"))
_FIRST_STATEMENT = re.compile(r"(?:[^.!?\n]|[.!?](?!\s|$))+")
_RESULT = re.compile(r"=\s*\$?\s*(\d[\d,]*(?:\.\d+)?)")
_ARITHMETIC = re.compile(r"[=+*/×÷]|\d\s*[-−]\s*\d|\b(?:times|plus|minus|divided)\b")

# Operators, and calls other than of the function that is the program itself.
_CALCULATES = re.compile(r"[-+*/%<>^×÷−]|(?<!def )\b(?!solution|print)\w+\(|\bfor\b")
_COMMENT = re.compile(r"#.*")


def find(text: str, problem: Problem, *, style: str = "cot") -> str | None:
    """Return what gives a right chain away, as a sentence for a person, or None.

    Args:
      text: a chain whose answer is right.
      problem: with the question and the gold answer.
      style: of the chain. A program or a system that calculates nothing states the answer, unless
        it can be copied from the question.
    """
    text = plain(text)
    asked = problem.question.lower()
    spoken = _HINT.search(text) if "hint" not in asked else None
    # A quiz has given answers, correct answers and answer keys of its own.
    if not spoken and "answer" not in asked:
        spoken = _SPOKEN_OF.search(text)
    if spoken:
        return f"It speaks of an answer that was shown: {spoken[0]!r}."
    if executed_style(style):
        asked_for = tokens(problem.answer)
        copied = asked_for and asked_for[0] in tokens(problem.question)
        if not copied and not _CALCULATES.search(_COMMENT.sub("", text)):
            return "It states the answer without working it out."
        return None
    if _marked_first(text, problem) or _option_first(text, problem):
        return "The answer stands before the reasoning."
    if problem.kind == "numeric" and _value_first(text, problem):
        return "The first statement has the answer, which is worked out only later."
    return None


def _marked_first(text: str, problem: Problem) -> bool:
    """Tell whether the first mark has the answer, with reasons behind it and none before it."""
    pieces = list(marked_pieces(text))
    if not pieces:
        return False
    first = pieces[-1]
    # "The answer is no. Laptops came later": here the point is the end, and "no." no abbreviation.
    stated = _FIRST_STATEMENT.match(text, first.start, first.end)
    end = stated.end() if stated else first.end
    before, after = text[: first.start], text[end:]
    said = text[first.start : end]
    heading = before.rstrip().endswith("#") and _HEADING.match(text, first.start)
    if heading or _CONDITION.search(said) or "=" in said:
        return False
    if len(before.split()) >= _FEW_WORDS or any(c.isdigit() for c in before):
        return False
    if len(after.split()) < _SOME_WORDS:
        return False
    statement = text[:end] + ("}" if first.closer == "}" else ".")
    verdict = judge(statement, problem.answer, problem.kind, choices=problem.choices)
    return verdict.outcome == "correct"


def _option_first(text: str, problem: Problem) -> bool:
    """Tell whether the chain opens with the right option, its reasons behind it: "(C) is right"."""
    first = _OPTION.match(text)
    return (
        problem.kind == "choice"
        and first is not None
        and first[1].upper() == problem.answer
        and len(text[first.end() :].split()) >= _SOME_WORDS
    )


def _value_first(text: str, problem: Problem) -> bool:
    """Tell whether the gold number opens the chain and an equation yields it only later."""
    text = _NUMBERING.sub("", text).lstrip()
    first = _FIRST_STATEMENT.match(text)
    if first is None or _ARITHMETIC.search(first[0]):
        return False
    gold = tokens(problem.answer)
    if len(gold) != 1 or gold[0] in _CONSTANTS:
        return False
    if gold[0] not in tokens(first[0]) or gold[0] in tokens(problem.question):
        return False
    rest = text[first.end() :]
    return any(tokens(result) == gold for result in _RESULT.findall(rest))
