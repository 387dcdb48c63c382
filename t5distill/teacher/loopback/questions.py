"""Which problem a prompt asks about: the last embedded question in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from t5distill.errors import UserError
from t5distill.records import Problem

_WORD = re.compile(r"\w+")
_MARKER = re.compile(r"^[ \t]*(?:Q|Question|Problem)[ \t]*:", re.MULTILINE | re.IGNORECASE)

# Questions are found inside a text by their first words; so many keep the candidates few.
_FIRST = 6


class Questions:
    """The problems by their question, found in a prompt in time that hardly grows with them."""

    def __init__(self, problems: Iterable[Problem]):
        """Index the problems.

        Raises:
          UserError: there are none, one has no program, or two with one question have two answers.
        """
        known_questions: dict[str, Problem] = {}
        self._starts: dict[tuple[str, ...], list[tuple[list[str], Problem]]] = {}
        self._lengths: set[int] = set()
        for problem in problems:
            if not problem.meta.get("steps"):
                raise UserError(
                    f"problem {problem.id} has no program in meta.steps; the loopback teacher "
                    "answers embedded problems (t5distill prepare embedded)"
                )
            words = _WORD.findall(problem.question)
            known = known_questions.setdefault(" ".join(words), problem)
            if known.answer != problem.answer:
                raise UserError(
                    f"problems {known.id} and {problem.id} have one question and two answers"
                )
            if known is problem:
                first = tuple(words[:_FIRST])
                self._starts.setdefault(first, []).append((words, problem))
                self._lengths.add(len(first))
        if not known_questions:
            raise UserError("no problems were given; the loopback teacher needs at least one")

    def last(self, texts: Sequence[str]) -> Problem | None:
        """Return the problem that a prompt asks about.

        The last text with a known question decides. Within a text only what follows the last
        `Q:` or `Question:` counts, where there is one: a few-shot prompt which ends in an unknown
        question must not get the answer to one of its examples.

        Args:
          texts: the prompt, or the messages of the user in order.
        """
        for text in reversed(texts):
            markers = list(_MARKER.finditer(text))
            found = self._inside(text[markers[-1].end() :] if markers else text)
            if found or markers:
                return found
        return None

    def _inside(self, text: str) -> Problem | None:
        """Return the problem whose question begins last in a text, whatever stands around it."""
        words = _WORD.findall(text)
        for i in range(len(words) - 1, -1, -1):
            for length in self._lengths:
                for question, problem in self._starts.get(tuple(words[i : i + length]), ()):
                    if words[i : i + len(question)] == question:
                        return problem
        return None
