"""Prompts as data files, and the one place where they are rendered."""

from t5distill.teacher.prompts.rendering import (
    Prompt,
    answer_lead,
    load,
    names,
    render,
    render_answer,
)

__all__ = ["Prompt", "answer_lead", "load", "names", "render", "render_answer"]
