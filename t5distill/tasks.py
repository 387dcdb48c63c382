"""Importing this module registers every task and mixture of the project with SeqIO.

Give it as MIXTURE_OR_TASK_MODULE. It touches no disk: a task looks for its data under
$T5DISTILL_DATA_DIR when it is read.
"""

from __future__ import annotations

from t5distill import formats
from t5distill.data.registration import register, register_mixture
from t5distill.problems import benchmarks, coin_flip, embedded, last_letter
from t5distill.records import SPLITS

EVALUATION_ONLY = (
    *(
        name
        for name, parts in benchmarks.OFFICIAL.items()
        if all(part.split == "test" for part in parts)
    ),
    *(coin_flip.benchmark(length) for length in coin_flip.OUT_OF_DOMAIN),
    *(last_letter.benchmark(length) for length in last_letter.OUT_OF_DOMAIN),
    embedded.HELD_OUT_BENCHMARK,
)
BENCHMARKS = tuple(dict.fromkeys((*benchmarks.OFFICIAL, *benchmarks.GENERATED, *EVALUATION_ONLY)))
# Soft labels are a teacher's: without one there are no such tasks.
STYLES = tuple(name for name, style in formats.STYLES.items() if style.soft is None)

# Zhu et al. 2024, section 3.3.
ETD = ("program", "equation", "cot")

FU = ("cot_in_context", "cot", "answer_in_context", "answer")
FU_SOFT = tuple(f"{style}_soft" for style in FU)
CODEX = "code-davinci-002"

# Chain sets of the project's own recipes; others are registered by their users. Teacher `gold` is
# a benchmark's own solutions after curation.
TEACHERS = (
    *(
        (benchmark, style, "gold")
        for benchmark in ("gsm8k", "aqua", "coin_flip", "last_letter", "embedded")
        for style in ("cot", "answer")
    ),
    ("embedded", "cot", "simulated"),
    *(("embedded", style, "simulated") for style in formats.STYLES if style != "cot"),
    *(("gsm8k", style, CODEX) for style in (*FU, *FU_SOFT)),
    ("svamp", "cot", "palm"),
    ("commonsenseqa", "cot", "palm"),
)

# Magister et al. 2022, table 1: arithmetic, commonsense and symbolic sets. Chains of thought are
# the benchmarks' own where they have them; a teacher's are mixed in by recipes.
MIXTURES = {
    "magister_2022": ("gsm8k_cot", "coin_flip_cot", "last_letter_cot"),
    # Zhu et al. 2024: three types of thought in one student, told apart by the end of the question.
    **{f"etd_{name}": tuple(f"{name}_{s}" for s in ETD) for name in BENCHMARKS},
    # Fu et al. 2023, section 3.2: four formats, as texts (`match_sample`) or with the teacher's
    # log-probabilities (`match_distribution`).
    "fu_2023": tuple(f"gsm8k_{style}" for style in FU),
    "fu_2023_code_davinci_002": tuple(f"gsm8k_{style}_code_davinci_002" for style in FU),
    "fu_2023_soft_code_davinci_002": tuple(f"gsm8k_{style}_code_davinci_002" for style in FU_SOFT),
    "fu_2023_embedded_simulated": tuple(f"embedded_{style}_simulated" for style in FU),
    "fu_2023_soft_embedded_simulated": tuple(f"embedded_{style}_simulated" for style in FU_SOFT),
    "etd_embedded_simulated": tuple(f"embedded_{s}_simulated" for s in ETD),
    "magister_2022_answer": tuple(
        f"{name}_answer"
        for name in ("gsm8k", "mawps", "asdiv", "strategyqa", "coin_flip", "last_letter")
    ),
}


def _register_all() -> None:
    """Register tasks and mixtures; those that are registered already stay."""
    for benchmark in BENCHMARKS:
        splits = ("test",) if benchmark in EVALUATION_ONLY else SPLITS
        for style in STYLES:
            register(benchmark=benchmark, style=style, splits=splits)
    for benchmark, style, teacher in TEACHERS:
        register(benchmark=benchmark, style=style, teacher=teacher)
    for name, tasks in MIXTURES.items():
        register_mixture(name, tasks)


_register_all()
