"""SeqIO tasks over prepared problems and curated chains, and the batches that training eats.

Importing this package is cheap; each public name loads its module (and so SeqIO) on first use.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t5distill.curate.tfds_writer import write_tfds
    from t5distill.data.batches import read_examples, stream_batches
    from t5distill.data.registration import register, register_mixture, resolve
    from t5distill.data.vocabularies import vocabulary

_PUBLIC = {
    "read_examples": "t5distill.data.batches",
    "register": "t5distill.data.registration",
    "register_mixture": "t5distill.data.registration",
    "resolve": "t5distill.data.registration",
    "stream_batches": "t5distill.data.batches",
    "vocabulary": "t5distill.data.vocabularies",
    "write_tfds": "t5distill.curate.tfds_writer",
}

__all__ = [
    "read_examples",
    "register",
    "register_mixture",
    "resolve",
    "stream_batches",
    "vocabulary",
    "write_tfds",
]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 't5distill.data' has no attribute {name!r}")
