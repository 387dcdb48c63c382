"""The tasks under the name that T5X recipes use for MIXTURE_OR_TASK_MODULE."""

from t5distill.tasks import BENCHMARKS, MIXTURES, STYLES, TEACHERS

__all__ = ["BENCHMARKS", "MIXTURES", "STYLES", "TEACHERS"]
