"""t5distill: put the reasoning of a large teacher into a small T5 student.

The public names are loaded on first use, so that `import t5distill` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t5distill.api import Student

__version__ = "0.1.0"

_PUBLIC = {"Student": "t5distill.api"}

__all__ = ["Student", "__version__"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "importlib"})


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 't5distill' has no attribute {name!r}")
