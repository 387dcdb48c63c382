"""SeqIO tasks over prepared problems and curated chains, and the batches that training eats.

Importing this package is cheap; each public name loads its module (and so SeqIO) on first use.
"""

import importlib

_PUBLIC = {
    "stream_batches": "t5distill.data.batches",
    "read_examples": "t5distill.data.batches",
    "register": "t5distill.data.registration",
    "register_mixture": "t5distill.data.registration",
    "resolve": "t5distill.data.registration",
    "vocabulary": "t5distill.data.vocabularies",
    "write_tfds": "t5distill.data.tfds_writer",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 't5distill.data' has no attribute {name!r}")
