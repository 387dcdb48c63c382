"""From a checked request to its generated texts: no sockets, no clock."""

from __future__ import annotations

import dataclasses

from t5distill.teacher.loopback import tokens
from t5distill.teacher.loopback.answers import read_off, wanted_style
from t5distill.teacher.loopback.probabilities import Probabilities
from t5distill.teacher.loopback.protocol import Choice, Prompt, Request
from t5distill.teacher.loopback.questions import Questions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generated:
    """What a request gave.

    Attributes:
      choices: n for each prompt, in order.
      problem_id: of the last prompt's problem, or None where it is not known.
      style: of the last prompt.
      prompt_tokens: of all prompts.
      completion_tokens: of all choices.
    """

    choices: list[Choice]
    problem_id: str | None
    style: str
    prompt_tokens: int
    completion_tokens: int


def generate(request: Request, questions: Questions, probabilities: Probabilities) -> Generated:
    """Answer every prompt of a request n times, in the words of the probabilities' writer."""
    choices: list[Choice] = []
    problem, style = None, "cot"
    for prompt in request.prompts:
        problem, style = questions.last(prompt.asked), wanted_style(prompt.text)
        answer = read_off(prompt.text) if problem else None
        blank = "" if request.chat else _blank(prompt, style)
        for sample in range(request.n):
            # Greedy decoding has one answer, whatever the seed and the sample.
            draw = "" if request.greedy else f"{request.seed} {sample}"
            text = blank + (answer or probabilities.writer.text(problem, style, draw))
            choice = _ended(text, request)
            if request.top_k is not None:
                top = probabilities.rows(
                    choice.tokens,
                    request.top_k,
                    problem=problem,
                    style=style,
                    blank=blank,
                    answer=answer,
                )
                choice = dataclasses.replace(choice, top=top)
            choices.append(choice)
    return Generated(
        choices=choices,
        problem_id=problem.id if problem else None,
        style=style,
        prompt_tokens=sum(tokens.count(p.text) for p in request.prompts),
        completion_tokens=sum(len(c.tokens) for c in choices),
    )


def _blank(prompt: Prompt, style: str) -> str:
    """Return the blank with which a base model goes on after "A:"."""
    if not prompt.text or prompt.text[-1].isspace():
        return ""
    return " " if style in ("answer", "cot") else "\n"


def _ended(text: str, request: Request) -> Choice:
    """Return the text up to the first stop sequence and within the limit of tokens."""
    ends = [at for stop in request.stop if (at := text.find(stop)) >= 0]
    text = text[: min(ends)] if ends else text
    made = tokens.pieces(text)
    limit = request.max_tokens
    if limit is not None and len(made) > limit:
        made = made[:limit]
        return Choice(text="".join(made), tokens=made, finish_reason="length", top=None)
    return Choice(text=text, tokens=made, finish_reason="stop", top=None)
