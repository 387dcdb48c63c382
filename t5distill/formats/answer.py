"""The answer alone, without reasoning: the baseline of every paper."""

from __future__ import annotations

from t5distill.records import Chain, Problem


def inputs(problem: Problem) -> str:
    """Return what the student reads."""
    return f"{question(problem)}\nA:"


def targets(problem: Problem, chain: Chain | None = None) -> str:
    """Return what the student writes; the chain has no part in it."""
    return sentence(problem)


def question(problem: Problem) -> str:
    """Return the question, with a line of lettered options where there are any."""
    lines = [f"Q: {problem.question.strip()}"]
    if problem.choices:
        options = (
            f"({letter(i)}) {text.strip()}".rstrip() for i, text in enumerate(problem.choices)
        )
        lines.append(f"Options: {' '.join(options)}")
    return "\n".join(lines)


def sentence(problem: Problem) -> str:
    """Return the sentence that marks the gold answer.

    An option's letter goes into brackets: "The answer is A." could be read as an article.
    """
    gold = f"({problem.answer})" if problem.kind == "choice" else problem.answer
    return f"The answer is {gold}."


def letter(position: int) -> str:
    """Return the letter of an option: A for 0, and after Z come AA, AB, ..."""
    name = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
