"""Chain of thought: the reasoning, then the answer (Wei et al. 2022; Magister et al. 2022)."""

from __future__ import annotations

import re

from t5distill.formats import answer
from t5distill.records import Chain, Problem

# Training text holds neither GSM8K's calculator annotations nor its last line "#### 72".
_ANNOTATION = re.compile(r"<<[^<>]*>>")
_FINAL_LINE = re.compile(r"^\s*####.*$", re.MULTILINE)

# Teachers run on into a next question of their own invention, which is no part of the chain.
_NEXT_QUESTION = re.compile(r"\n\s*(?:Q|Question)\s*:.*", re.DOTALL)

# A marked answer that ends the chain: after the marker comes no further sentence and no line.
_MARKED_END = re.compile(
    r"(?:\banswer\s+is\b|\banswer\s*:|\\boxed\s*\{|-->)[ \t*:]*"
    r"(?:(?![.!?]\s+\S)[^\n]){1,120}$",
    re.IGNORECASE,
)

_SENTENCE_END = re.compile(r"[.!?]\s+|\n")


def inputs(problem: Problem) -> str:
    """Return what the student reads."""
    return f"{answer.question(problem)}\nA: Let's think step by step."


def targets(problem: Problem, chain: Chain | None = None) -> str:
    """Return the reasoning and the sentence that marks the answer.

    A chain that already ends in a marked answer keeps its own words; without a chain the target is
    the answer alone.
    """
    if chain is None:
        return answer.sentence(problem)
    text = reasoning(chain.text)
    if _MARKED_END.search(text):
        return text
    return f"{text} {answer.sentence(problem)}".strip()


def rationale(text: str) -> str:
    """Return a chain without the sentence that marks its answer; a chain of nothing else whole."""
    text = reasoning(text)
    marked = _MARKED_END.search(text)
    if not marked:
        return text
    begin = max((end.end() for end in _SENTENCE_END.finditer(text, 0, marked.start())), default=0)
    return text[:begin].rstrip() or text


def reasoning(text: str) -> str:
    """Return a chain's text without annotations, `####` line and invented further questions."""
    text = _NEXT_QUESTION.sub("", text.strip())
    text = _FINAL_LINE.sub("", _ANNOTATION.sub("", text))
    return text.strip()
