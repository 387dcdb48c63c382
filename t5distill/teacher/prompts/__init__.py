"""Prompts as data files, and the one place where they are rendered."""

from t5distill.teacher.prompts.rendering import Prompt, load, names, render

__all__ = ["Prompt", "load", "names", "render"]
