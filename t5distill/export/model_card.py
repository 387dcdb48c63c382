"""A model card (README.md): what a student learnt, from whom, how well, and under what terms."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from t5distill import __version__, formats, places
from t5distill.errors import UserError
from t5distill.formats.conversation import Talk
from t5distill.records import Problem
from t5distill.student.weights import Weights

_LICENCES = (
    "T5, T5 1.1, Flan-T5, ByT5 and mT5 are Apache-2.0; a student that began with one of them keeps "
    "those terms.",
    "The problems come with the licence of their benchmark, and the chains with the terms of the "
    "teacher's provider, which may forbid to train other models with them. Check both before this "
    "model is published.",
)


def scores_of(folder: pathlib.Path) -> dict[str, Any]:
    """Return scores.json of `t5distill score` or `eval`.

    Raises:
      UserError: there is none.
    """
    path = folder / "scores.json" if folder.is_dir() else folder
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"accuracy": found["accuracy"], "low": found["low"], "high": found["high"],
                "n": found["n"], "name": folder.name}  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(f"--scores {folder}: no scores.json of `t5distill score` there: {e}") from e


def card(weights: Weights, *, name: str, dtype: str, scores: Sequence[dict[str, Any]]) -> str:
    """Return the text of README.md for a Hugging Face directory."""
    record = weights.record
    style = record.get("style")
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation", "tags:",
             "- t5", "- distillation", "- reasoning", "---", "", f"# {name}", ""]  # fmt: skip
    lines += [_what(weights, dtype), "", "## Use", "", *_use(style), ""]
    lines += ["## Data and teacher", "", *_data(record), "", "## Training", "", *_training(weights)]
    lines += ["", "## Scores", "", *_scores(scores), "", "## Licence", ""]
    lines += [*(f"- {line}" for line in _LICENCES), ""]
    return "\n".join(lines)


def _what(weights: Weights, dtype: str) -> str:
    config = weights.config
    count = sum(a.nbytes // a.dtype.itemsize for a in weights.arrays.values())
    return (
        f"A T5 student of {count:,} parameters ({config.num_encoder_layers} encoder and "
        f"{config.num_decoder_layers} decoder layers, width {config.emb_dim}), in {dtype}, "
        f"exported by t5distill {__version__} from `{weights.where.name}` of a "
        f"{weights.kind} checkpoint."
    )


def _use(style: str | None) -> list[str]:
    asked = _asked(style).replace("\n", "\\n")
    return [
        "```python",
        "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("PATH")',
        'model = AutoModelForSeq2SeqLM.from_pretrained("PATH")',
        f'inputs = tokenizer("{asked}", return_tensors="pt")',
        "print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))",
        "```",
        "",
        "tokenizer.json holds t5distill's spelling of characters that the vocabulary lacks "
        f"(newlines, `<`, `{{`, `×`, ...): plain text goes in and comes out. {_asking(style)}",
    ]


def _asking(style: str | None) -> str:
    """Return what is to be known of how a student is asked."""
    if style is None:
        return (
            "Which form a question has depends on the style; this student may know several: "
            "`t5distill.Student.load(PATH).solve(question, style=...)` asks in the form of one."
        )
    more = ""
    if style.startswith(("socratic", "sci_cot")):
        more = "This style takes several turns, of which the lines above ask the first. "
    return f"{more}`t5distill.Student.load(PATH).solve(question)` asks in the right form by itself."


def _asked(style: str | None) -> str:
    """Return what a student of a style reads of the question "How many?"."""
    if style is None or formats.style(style).shows:
        return "..."
    problem = Problem(
        id="", question="How many?", answer="", kind="numeric", benchmark="", split="test"
    )
    return Talk(formats.style(style).converse(problem)).asked


def _data(record: Mapping[str, Any]) -> list[str]:
    if record.get("task") is None:
        return ["The checkpoint does not say what it was trained on."]
    lines = [f"Task or mixture `{record['task']}`.", ""]
    for each in record.get("data", ()):
        what = f"benchmark {each['benchmark']}, style {each['style']}: "
        if "teachers" in each:
            count, problems = each["examples"]["train"], each["problems"]
            what += f"{count:,} verified chains of {', '.join(each['teachers'])} for "
            what += f"{problems:,} problems (`{each['chains']}`, sha256 {each['sha256'][:12]})"
        else:
            what += f"chains {each['chains']}"
        lines.append(f"- {what}")
    return lines


def _training(weights: Weights) -> list[str]:
    folder = places.place(weights.where).parent
    try:
        if weights.kind != "t5distill":
            raise OSError("what lies beside is of another run")
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items())
        lines = [
            f"Step {weights.step} of {run['steps']}, on {run['devices']['count']} x "
            f"{run['devices']['kind']}; Python {run['python']}, {versions}; commit {run['commit']}."
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        step = f"step {weights.step}" if weights.step is not None else "of an unknown step"
        return [f"Checkpoint {step}; no record of the run lies beside it."]
    config = folder / "config.gin"
    if config.is_file():
        lines += ["", "```", *_macros(config.read_text(encoding="utf-8")), "```"]
    return lines


def _macros(config: str) -> list[str]:
    """Return the macros of a config.gin that are of interest elsewhere, each on a line.

    Gin breaks long values over several lines, which are indented. Paths of this machine are left
    out.
    """
    text = config.split("# Macros:")[-1].split("# Parameters for")[0]
    whole = re.sub(r"\\?\n\s+", " ", text)
    found = (line.partition(" = ") for line in whole.splitlines())
    return [
        f"{name} = {value.strip()}"
        for name, equals, value in found
        if equals and not name.endswith(("_PATH", "_DIR"))
    ]


def _scores(scores: Sequence[dict[str, Any]]) -> list[str]:
    if not scores:
        return ["Not measured."]
    rows = [
        f"| {s['name']} | {100 * s['accuracy']:.1f} % | {100 * s['low']:.1f} to "
        f"{100 * s['high']:.1f} | {s['n']} |"
        for s in scores
    ]
    return ["| set | accuracy | 95 % interval | problems |", "|---|---|---|---|", *rows]
