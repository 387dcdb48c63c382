"""A prompt file and a problem make the messages or the text that a teacher reads.

A prompt file is JSON: `style`, `instruction`, `exemplars` (question, answer, text), `stop`,
`max_tokens`, `about`, and optionally `lead`, words that the teacher's text goes on from ("Let's
think step by step."). With `answer_lead` the teacher is asked twice: it writes a rationale, and
then goes on from the lead with the answer; a lead for each kind of problem, or for `any`. Files of
the same form from elsewhere are named by their path.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

from t5distill.errors import UserError, suggest
from t5distill.formats import answer
from t5distill.records import KINDS, STYLES, Problem

_FOLDER = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What is asked of a teacher, apart from the problem.

    Attributes:
      name: of the file, without folder and ending.
      style: the style of what comes back.
      about: where the form comes from.
      instruction: what the teacher is told to do.
      exemplars: solved problems: `question`, `answer` and `text`.
      stop: texts at which the teacher stops.
      max_tokens: of one reply.
      lead: the first words of the reply, given.
      answer_lead: by kind of problem (`any` for the others) what leads the answer in, in a second
        call; `{letters}` stands for the letters of the options. Empty for prompts of one call.
      answer_tokens: of the second call's reply.
    """

    name: str
    style: str
    about: str
    instruction: str
    exemplars: list[dict[str, str]]
    stop: list[str]
    max_tokens: int
    lead: str = ""
    answer_lead: dict[str, str] = dataclasses.field(default_factory=dict)
    answer_tokens: int = 32


def names() -> list[str]:
    """Return the prompts that come with the project."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load(name: str) -> Prompt:
    """Return a prompt of the project by name, or one of the user's by the path of its file.

    Raises:
      UserError: there is none of that name, or the file is not a prompt.
    """
    path = pathlib.Path(name)
    if path.suffix != ".json":
        if name not in names():
            raise UserError(f"prompt {name!r}; {suggest(name, names())}, or a path ending in .json")
        path = _FOLDER / f"{name}.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        prompt = Prompt(name=path.stem, **fields)
    except FileNotFoundError as e:
        raise UserError(f"{path}: no such prompt file") from e
    except (ValueError, TypeError) as e:
        raise UserError(f"{path}: not a prompt: {e}") from e
    _check(path, prompt)
    return prompt


def _check(path: pathlib.Path, prompt: Prompt) -> None:
    """Raise UserError where a field has the wrong form."""
    if prompt.style not in STYLES:
        raise UserError(f"{path}: style is {prompt.style!r}; {suggest(prompt.style, STYLES)}")
    if not isinstance(prompt.max_tokens, int) or prompt.max_tokens < 1:
        raise UserError(f"{path}: max_tokens is {prompt.max_tokens!r}, wanted a number above 0")
    if not isinstance(prompt.answer_tokens, int) or prompt.answer_tokens < 1:
        raise UserError(f"{path}: answer_tokens is {prompt.answer_tokens!r}, wanted above 0")
    leads = prompt.answer_lead
    if not isinstance(leads, dict) or not all(isinstance(v, str) for v in leads.values()):
        raise UserError(f"{path}: answer_lead wants a text for each kind of problem, or for 'any'")
    if leads and "any" not in leads:
        raise UserError(f"{path}: answer_lead has no text for 'any' other kind of problem")
    for kind in leads:
        if kind not in (*KINDS, "any"):
            raise UserError(f"{path}: answer_lead has {kind!r}; {suggest(kind, (*KINDS, 'any'))}")
    for i, exemplar in enumerate(prompt.exemplars):
        if set(exemplar) != {"question", "answer", "text"}:
            raise UserError(f"{path}: exemplar {i} wants question, answer and text")


def render(
    prompt: Prompt, problem: Problem, *, chat: bool, show_gold: bool = False
) -> list[dict[str, str]] | str:
    """Return what the teacher reads: messages for a chat, else one text.

    Args:
      prompt: the instruction and exemplars.
      problem: the question that is asked.
      chat: whether the server takes messages.
      show_gold: tell the teacher the gold answer, in the exemplars too (Magister et al. 2022,
        section 3: it corrects small slips and yields more right chains).
    """
    asked = _question(answer.question(problem), answer.sentence(problem) if show_gold else "")
    shots = [
        (_question(f"Q: {e['question']}", f"The answer is {e['answer']}." if show_gold else ""), e)
        for e in prompt.exemplars
    ]
    if not chat:
        parts = [prompt.instruction] if prompt.instruction else []
        parts += [f"{question}\nA:{prompt.lead} {e['text']}" for question, e in shots]
        return "\n\n".join([*parts, f"{asked}\nA:{prompt.lead}"])
    messages = [{"role": "system", "content": prompt.instruction}] if prompt.instruction else []
    for question, e in shots:
        messages.append({"role": "user", "content": question + prompt.lead})
        messages.append({"role": "assistant", "content": e["text"]})
    return [*messages, {"role": "user", "content": asked + prompt.lead}]


def answer_lead(prompt: Prompt, problem: Problem) -> str:
    """Return what leads the answer in, in the second call; nothing for prompts of one call."""
    lead = prompt.answer_lead.get(problem.kind, prompt.answer_lead.get("any", ""))
    if "{letters}" not in lead:
        return lead
    last = answer.letter(max(1, len(problem.choices or [])) - 1)
    return lead.replace("{letters}", f"A through {last}")


def render_answer(
    rendered: list[dict[str, str]] | str, rationale: str, lead: str
) -> list[dict[str, str]] | str:
    """Return what the teacher reads in the second call.

    Args:
      rendered: what it read in the first.
      rationale: what it wrote.
      lead: what its answer goes on from; in a chat these are the user's words.
    """
    if isinstance(rendered, str):
        return rendered + rationale + lead
    turns = [("assistant", rationale), ("user", lead.strip())]
    return [*rendered, *({"role": role, "content": content} for role, content in turns)]


def _question(question: str, gold: str) -> str:
    hint = f"\n(Hint: {gold} Explain how to get there, without mentioning the hint.)"
    return question + (hint if gold else "")


def text_of(rendered: list[dict[str, str]] | str) -> str:
    """Return a rendered prompt as one text, for people and for counting."""
    if isinstance(rendered, str):
        return rendered
    return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in rendered)


def canonical(obj: Any) -> str:
    """Return JSON of one form only, which hashes are taken of."""
    return json.dumps(obj, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest(obj: Any) -> str:
    """Return the SHA-256 of an object's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(obj).encode()).hexdigest()
