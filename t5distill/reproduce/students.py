"""The students of an experiment: what each is trained with, where it lies, what it is asked."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from t5distill import gin_files
from t5distill.errors import UserError
from t5distill.reproduce.chains import ChainSet, chain_set
from t5distill.reproduce.experiment import Arm, Experiment
from t5distill.reproduce.running import bindings

TRAIN_FILE, INFER_FILE = "gin/runs/train.gin", "gin/runs/infer.gin"
# What an experiment decides, and where that is said.
_DECIDED = {
    "RANDOM_SEED": "--seed",
    "MODEL_DIR": "--workdir",
    "CHECKPOINT_PATH": "STUDENTS",
    "FIRST_CHECKPOINT_PATH": "STUDENTS[..]['first']",
    "INFER_OUTPUT_DIR": "--workdir",
    "MIXTURE_OR_TASK_NAME": "STUDENTS[..]['style']",
    "EVAL_SPLIT": "nowhere: students are selected on validation",
}
# What a student is not named by: where it lies, which seed it has; and without a teacher's
# distribution, how that is compared.
_OWN = ("MODEL_DIR", "RANDOM_SEED")
_OF_TEACHERS = ("SOFT_WEIGHT", "SOFT_TEMPERATURE", "MISSING_MASS", "JSD_BETA")
# Of a tiny batch: its rows times the square of a row's tokens, as attention costs a processor.
_TINY_WORK = 280_000
# With fewer updates a student has no word to say yet.
_TINY_STEPS = 12
TINY_TRAINING = "gin/models/tiny_training.gin"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Student:
    """One trained student; arms that differ in their decoding share it.

    Attributes:
      arm: the first arm that needs it.
      seed: of its training.
      folder: its MODEL_DIR.
      tasks: what it is trained on, by plain names.
      sets: the chain sets of those tasks.
      files: model, recipe and, of a tiny run, how that is trained.
      macros: what is set beside the files, for training.
      decoding: what is set for decoding, and how the files say that it decodes where that is not
        the usual way; results of other ways lie elsewhere.
      vocab: the vocabulary of its model: `t5`, `byt5` or `mt5`.
      first: the student that comes first where two answer together.
    """

    arm: Arm
    seed: int
    folder: pathlib.Path
    tasks: tuple[str, ...]
    sets: tuple[ChainSet, ...]
    files: tuple[str, ...]
    macros: Mapping[str, Any]
    decoding: Mapping[str, Any]
    vocab: str = "t5"
    first: Student | None = None

    def train_arguments(self) -> list[str]:
        """Return the arguments of `t5distill train`."""
        own = {"MODEL_DIR": str(self.folder), "RANDOM_SEED": self.seed}
        return _gin("train", self.files, {**self.macros, **own})

    def infer_arguments(self, task: str, out: pathlib.Path, decode: Mapping[str, Any]) -> list[str]:
        """Return the arguments of `t5distill infer` for one task."""
        own = {
            "CHECKPOINT_PATH": str(self.folder),
            "EVAL_MIXTURE_OR_TASK_NAME": task,
            "INFER_OUTPUT_DIR": str(out),
            "RANDOM_SEED": self.seed,
            **({"FIRST_CHECKPOINT_PATH": str(self.first.folder)} if self.first else {}),
        }
        # How it was trained is the checkpoint's to say.
        kept = {k: v for k, v in self.macros.items() if k in _DECODING}
        return _gin("infer", self.files, {**kept, **self.decoding, **decode, **own})

    def predictions(self, task: str, out: pathlib.Path) -> pathlib.Path:
        """Return the file that `t5distill infer` writes of one task's test problems."""
        return out / f"{task if self.vocab == 't5' else f'{task}__{self.vocab}'}-test.jsonl"

    def results(self, style: str, decode: Mapping[str, Any]) -> pathlib.Path:
        """Return the folder of what it answers in a style; below it lie the benchmarks'."""
        first = {"first": str(self.first.folder)} if self.first else {}
        how = {**self.decoding, **decode, **first}
        return self.folder / "tests" / (f"{style}-{digest(how)}" if how else style)


_DECODING = (
    *("MIXTURE_OR_TASK_NAME", "MIXTURE_OR_TASK_MODULE", "TASK_FEATURE_LENGTHS"),
    "MODEL_PARALLELISM",
)


def _gin(run_file: str, files: Sequence[str], macros: Mapping[str, Any]) -> list[str]:
    named = (f"gin/runs/{run_file}.gin", *files)
    return [*(f"--gin_file={f}" for f in named), *bindings(dict(macros))]


def students(
    experiment: Experiment,
    recipe: str,
    *,
    root: pathlib.Path,
    seed: int,
    given: Sequence[str] = (),
    tiny: bool,
    lengths: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Student]:
    """Return the student of each arm that has one.

    Args:
      experiment: what the recipe says.
      recipe: the recipe file, as `--gin_file` takes it.
      root: the folder that students lie in.
      seed: of their training.
      given: `NAME=VALUE` of the command line, which win over everything.
      tiny: trained as tiny students are, whatever the recipe says.
      lengths: TASK_FEATURE_LENGTHS of each task, where the recipe's are not meant; the batch is
        then as large for all as a laptop has time for.
    """
    found: dict[str, Student] = {}
    set_by_hand, decode_by_hand = _by_hand(given)
    rows = {} if lengths is None else {"BATCH_SIZE": _tiny_batch(lengths.values())}
    for arm in experiment.arms:
        if arm.combine:
            continue
        sets = [chain_set(experiment, arm, taught, tiny=tiny) for taught in arm.taught()]
        tasks = tuple(each.task(style) for each, (_, style) in zip(sets, arm.taught(), strict=True))
        model = arm.model or experiment.model
        files = (f"gin/models/{model}.gin", recipe, *((TINY_TRAINING,) if tiny else ()))
        macros: dict[str, Any] = {"MIXTURE_OR_TASK_NAME": "+".join(tasks)}
        if lengths is not None:
            macros["TASK_FEATURE_LENGTHS"] = _longest([lengths[task] for task in tasks])
        macros |= {**rows, **_training(arm, tiny=tiny), **set_by_hand}
        whole = {**macros_of(files), **macros}
        if arm.steps < 1.0:
            # Evaluated as often as one that takes all steps.
            for name, fewest in (("TRAIN_STEPS", _TINY_STEPS if tiny else 1), ("EVAL_PERIOD", 1)):
                macros[name] = max(min(fewest, whole[name]), round(arm.steps * whole[name]))
            whole |= macros
        if whole["WARMUP_STEPS"] > whole["TRAIN_STEPS"] and "WARMUP_STEPS" not in set_by_hand:
            macros["WARMUP_STEPS"] = whole["TRAIN_STEPS"]
        if arm.role == "untrained":
            macros |= {"TRAIN_STEPS": 0, "WARMUP_STEPS": 0, "EVAL_PERIOD": 0}
        named = {**macros_of(files), **macros}
        if named["EVAL_SPLIT"] != "validation":
            raise UserError(
                f"STUDENTS[{arm.name!r}]: EVAL_SPLIT is {named['EVAL_SPLIT']!r}; students are "
                "selected on validation alone"
            )
        for macro, other in (
            ("TEACHER_CHECKPOINT_PATH", arm.taught_by),
            ("INITIAL_CHECKPOINT_PATH", arm.starts_from),
        ):
            if other:
                macros[macro] = str(found[other].folder)
                named[macro] = found[other].folder.parent.name  # with any seed
        found[arm.name] = Student(
            arm=arm,
            seed=seed,
            folder=root / _key(arm, named) / f"seed_{seed}",
            tasks=tasks,
            sets=tuple(sets),
            files=files,
            macros=macros,
            decoding={**_unusual_decoding(files), **decode_by_hand},
            vocab=named["VOCAB"],
            first=found[arm.first] if arm.first else None,
        )
    return found


def _training(arm: Arm, *, tiny: bool) -> dict[str, Any]:
    """Return an arm's macros; in a tiny run those that every tiny student has are left out."""
    if not tiny:
        return dict(arm.train)
    usual = _values(TINY_TRAINING)
    return {**{k: v for k, v in arm.train.items() if k not in usual}, **arm.tiny}


def _key(arm: Arm, named: Mapping[str, Any]) -> str:
    """Return a name that students share which are trained alike."""
    left_out = _OWN + (_OF_TEACHERS if named["LOSS"] == "cross_entropy" else ())
    styles = [style for _, style in arm.taught()]
    styles = "_".join(styles) if len(styles) < 3 else f"{styles[0]}_and_others"
    return f"{styles}-{digest({k: v for k, v in named.items() if k not in left_out})}"


def _tiny_batch(lengths: Iterable[Mapping[str, int]]) -> int:
    """Return the rows of a tiny batch: the same for all students of a recipe."""
    tokens = sum(_longest(list(lengths)).values())
    # Powers of two, which divide over devices.
    return next((rows for rows in (16, 8, 4) if rows * tokens**2 <= _TINY_WORK), 2)


def _longest(lengths: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: max(each[name] for each in lengths) for name in ("inputs", "targets")}


def _by_hand(given: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the command line's macros of training, and those of decoding alone.

    Raises:
      UserError: one is the experiment's to decide.
    """
    training, decoding = {}, {}
    for text in given:
        name, _, value = (part.strip() for part in text.partition("="))
        if name in _DECIDED:
            raise UserError(f"--gin.{name}: an experiment decides it; it is said {_DECIDED[name]}")
        if name in _values(TRAIN_FILE):
            training[name] = ast.literal_eval(value)
        elif name in _values(INFER_FILE):
            decoding[name] = ast.literal_eval(value)
    return training, decoding


def _values(file: str) -> dict[str, Any]:
    """Return the macros that a gin file sets, in a run file the defaults."""
    path = gin_files.find(file, gin_files.search_roots()).absolute()
    return _values_of(path, path.stat().st_mtime_ns)


@functools.cache
def _values_of(path: pathlib.Path, changed: int) -> dict[str, Any]:
    del changed
    return {name: entry[0] for name, entry in gin_files.read(path).macros.items()}


def macros_of(files: Sequence[str]) -> dict[str, Any]:
    """Return every macro of training with what the files set it to; the later wins."""
    macros = dict(_values(TRAIN_FILE))
    for file in files:
        macros |= {name: value for name, value in _values(file).items() if name in macros}
    return macros


def _unusual_decoding(files: Sequence[str]) -> dict[str, Any]:
    """Return how the files say that a student decodes, where that is not the default."""
    usual, training = _values(INFER_FILE), _values(TRAIN_FILE)
    said = {name: value for file in files for name, value in _values(file).items()}
    return {
        name: value
        for name, value in said.items()
        if name in usual and name not in training and value != usual[name]
    }


def digest(what: Any) -> str:
    """Return a short name of a plain object."""
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def is_trained(student: Student) -> bool:
    """Say whether a student has reached the end of its training."""
    path = student.folder / "run.json"
    if not path.is_file():
        return False
    record = json.loads(path.read_text(encoding="utf-8"))
    return not record.get("stopped", True)


def lengths_of(
    students: Iterable[Student], *, examples: int = 400, multiple: int = 8
) -> dict[str, Any]:
    """Return TASK_FEATURE_LENGTHS that the first training examples of each task fit into."""
    import itertools

    from t5distill import data, runtime

    students = list(students)
    for student in students:
        # As training does: what it registers comes before what is found among the sets.
        macros = {**macros_of(student.files), **student.macros}
        runtime.import_tasks(macros["MIXTURE_OR_TASK_MODULE"])
    found = {}
    for task in sorted({task for student in students for task in student.tasks}):
        full = data.resolve(task, "t5")
        longest = {"inputs": 1, "targets": 1}
        for example in itertools.islice(data.read_examples(full, split="train"), examples):
            for name in longest:
                longest[name] = max(longest[name], len(example[name]))
        found[task] = {k: -(-(n + 2) // multiple) * multiple for k, n in longest.items()}
    return found
