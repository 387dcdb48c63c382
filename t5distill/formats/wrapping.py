"""What chat models put around code. Free of other modules: the sandbox imports it, too."""

from __future__ import annotations

import re
import textwrap

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+.-]*)[^\n`]*\n(.*?)(?:^[ \t]*\1|\Z)", re.M | re.S
)
_PYTHON = {"python", "python3", "py"}


def unfenced(text: str) -> str:
    """Return what stands inside Markdown fences: of several, all that say Python, else the first.

    A text without any comes back as it is.
    """
    blocks = [(language.lower(), body) for _, language, body in _FENCE.findall(text)]
    python = [textwrap.dedent(body) for language, body in blocks if language in _PYTHON]
    if python:
        return "\n".join(python)
    return blocks[0][1] if blocks else text
