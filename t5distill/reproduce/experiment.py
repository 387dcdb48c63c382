"""What a recipe says of an experiment: problems, teacher, students, and what is compared."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from t5distill import formats
from t5distill.errors import UserError, suggest

GOLD = "gold"
ROLES = ("untrained", "answer_only", "distilled")
HOW = ("fallback", "vote")
# The teacher of a tiny run, and what it is asked about.
SIMULATED = "simulated"
OTHER_SIMULATED = "simulated_other"
TINY_BENCHMARK = "embedded"
TINY_TESTS = ("embedded", "embedded_held_out")
# The styles that its own solutions are in, and the most chains that a problem has.
TINY_GOLD = ("cot", "socratic")
TINY_SAMPLES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One entry of STUDENTS: a row of the table, or several where it is asked in several styles.

    Attributes:
      name: its key.
      label: what the report calls it.
      style: what it is taught: a style, or several that are mixed by their numbers of examples;
        `BENCHMARK:STYLE` of another benchmark than the recipe's.
      role: one of `ROLES`, or None.
      x: where it stands on the axis of SWEEP.
      asked: the styles that it is asked in; None for those it is taught that have a chain.
      model: its model file; None for MODEL.
      teacher: its teacher; None for TEACHER.
      generate: options of `t5distill generate` beside GENERATE.
      curate: options of `t5distill curate` beside CURATE.
      train: macros of its training.
      decode: macros of its decoding.
      steps: the share of TRAIN_STEPS that it is trained for.
      tiny: macros in a tiny run, e.g. another width where the recipe has another model.
      first: of two students the arm that comes first (FIRST_CHECKPOINT_PATH).
      taught_by: the arm that is its white-box teacher (TEACHER_CHECKPOINT_PATH).
      starts_from: the arm whose weights it begins with (INITIAL_CHECKPOINT_PATH).
      combine: no student, but one answer of the arms `of`: one of `HOW`.
      of: the arms that are combined.
    """

    name: str
    label: str = ""
    style: tuple[str, ...] = ()
    role: str | None = None
    x: float | None = None
    asked: tuple[str, ...] | None = None
    model: str | None = None
    teacher: str | None = None
    generate: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    curate: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    decode: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps: float = 1.0
    tiny: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    first: str | None = None
    taught_by: str | None = None
    starts_from: str | None = None
    combine: str | None = None
    of: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str, str | None]]:
        """Return (row, label, style) for each style that it is asked in."""
        if self.combine:
            return [(self.name, self.label, None)]
        styles = self.asked_styles()
        if len(styles) == 1:
            return [(self.name, self.label, styles[0])]
        return [(f"{self.name}_{s}", f"{self.label}: {s.replace('_', ' ')}", s) for s in styles]

    def asked_styles(self) -> tuple[str, ...]:
        """Return the styles that it is asked in, those with soft labels by their plain names."""
        if self.asked is not None:
            return self.asked
        styles = [style for _, style in self.taught()]
        thought = [s for s in styles if formats.style(s).needs_chain] or styles
        return tuple(dict.fromkeys(re.sub(r"_soft(_.*)?$", "", s) for s in thought))

    def taught(self) -> list[tuple[str | None, str]]:
        """Return benchmark (None for the recipe's) and style of what it is taught."""
        parted = (text.rpartition(":") for text in self.style)
        return [(benchmark or None, style) for benchmark, _, style in parted]

    def needs(self) -> tuple[str, ...]:
        """Return the arms that come before it."""
        return (*self.of, *filter(None, (self.first, self.taught_by, self.starts_from)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment; each field is a macro of gin/runs/reproduce.gin, explained there."""

    question: str
    source: str
    benchmark: str
    students: Mapping[str, Mapping[str, Any]]
    tests: Sequence[str] | None = None
    prepare: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    prepare_tests: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    teacher: str = GOLD
    generate: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    curate: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model: str = "flan_t5_base"
    baseline: str | None = None
    main: str | None = None
    sweep: Mapping[str, Any] | None = None
    published: Sequence[Mapping[str, Any]] = ()
    arms: tuple[Arm, ...] = dataclasses.field(init=False)

    def __post_init__(self):
        if not isinstance(self.students, Mapping) or not self.students:
            raise UserError(f"STUDENTS is {self.students!r}; wanted names with their fields")
        if isinstance(self.tests, str):
            raise UserError(f"TESTS is {self.tests!r}; wanted a tuple, ({self.tests!r},)")
        arms = tuple(_arm(name, fields) for name, fields in self.students.items())
        object.__setattr__(self, "arms", arms)
        trained = [arm.name for arm in arms if not arm.combine]
        names = [arm.name for arm in arms]
        for arm in arms:
            for other in arm.needs():
                if other not in names[: names.index(arm.name)] or other not in trained:
                    raise UserError(
                        f"STUDENTS[{arm.name!r}] needs {other!r}; wanted a student that stands "
                        "before it"
                    )
            if self.sweep is not None and arm.x is None and arm.role != "untrained":
                raise UserError(f"STUDENTS[{arm.name!r}] has no 'x', its place on SWEEP's axis")
        rows = [row for arm in arms for row, _, _ in arm.rows()]
        if twice := [row for i, row in enumerate(rows) if row in rows[:i]]:
            raise UserError(f"STUDENTS: two rows are called {twice[0]!r}; rename one")
        for macro, row in (("BASELINE", self.baseline), ("MAIN", self.main)):
            if row is not None and row not in rows:
                raise UserError(f"{macro} is {row!r}; {suggest(row, rows)}")
        others = set(self.test_benchmarks()) - {self.benchmark}
        for name in self.prepare_tests:
            if name not in others:
                raise UserError(f"PREPARE_TESTS[{name!r}]: {suggest(name, others)}")
        wanted = {"label", "benchmark", "accuracy", "source", "verified"}
        for row in self.published:
            if not isinstance(row, Mapping) or set(row) != wanted:
                raise UserError(f"PUBLISHED: {row!r}; wanted {', '.join(sorted(wanted))}")

    def test_benchmarks(self) -> tuple[str, ...]:
        """Return the benchmarks whose test problems are read."""
        return tuple(self.tests) if self.tests else (self.benchmark,)

    def arm(self, name: str) -> Arm:
        """Return the arm of a name."""
        return next(arm for arm in self.arms if arm.name == name)

    def tiny(self) -> Experiment:
        """Return the same experiment on embedded problems with the smallest student."""
        several = self.tests is not None and tuple(self.tests) != (self.benchmark,)
        # What is made here needs no download; of those only the embedded problems have a teacher.
        made = [test for test in self.tests or () if is_generated(test)]
        own = is_generated(self.benchmark) and (self.teacher == GOLD or bool(made))
        students = {name: {**fields, "model": None} for name, fields in self.students.items()}
        return dataclasses.replace(
            self,
            benchmark=self.benchmark if own else TINY_BENCHMARK,
            prepare={},
            prepare_tests={},
            tests=made or (TINY_TESTS if several else None),
            model="tiny",
            students=students,
        )


def is_generated(benchmark: str) -> bool:
    """Say whether a benchmark's problems are made here and not read from files."""
    from t5distill.problems.benchmarks import GENERATED

    return any(benchmark == name or benchmark.startswith(f"{name}_") for name in GENERATED)


# What the fields of an entry of STUDENTS are; a text may stand for several texts.
_KINDS = {
    **dict.fromkeys(("label", "role", "model", "teacher", "combine"), str),
    **dict.fromkeys(("first", "taught_by", "starts_from"), str),
    **dict.fromkeys(("style", "asked", "of"), tuple),
    **dict.fromkeys(("generate", "curate", "train", "decode", "tiny"), Mapping),
    **dict.fromkeys(("x", "steps"), (int, float)),
}


def _checked(name: Any, given: Any) -> dict[str, Any]:
    """Return an entry's fields; raise UserError where one is unknown or of another kind."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_]+", name):
        raise UserError(f"STUDENTS: {name!r}; wanted a name of small letters, digits and _")
    if not isinstance(given, Mapping):
        raise UserError(f"STUDENTS[{name!r}] is {given!r}; wanted fields, e.g. {{'style': 'cot'}}")
    fields = dict(given)
    for field, value in fields.items():
        where = f"STUDENTS[{name!r}][{field!r}]"
        if field not in _KINDS:
            raise UserError(f"{where}: {suggest(field, _KINDS)}")
        if _KINDS[field] is tuple and isinstance(value, str | list):
            fields[field] = value = (value,) if isinstance(value, str) else tuple(value)
        if value is None and field not in ("style", "of", "steps"):
            continue
        if not isinstance(value, _KINDS[field]) or isinstance(value, bool):
            raise UserError(f"{where} is {value!r}; wanted {_wanted(field)}")
    if not 0 < fields.get("steps", 1.0) <= 1:
        raise UserError(f"STUDENTS[{name!r}]['steps'] is {fields['steps']}; wanted a share of 1")
    samples = (fields.get("generate") or {}).get("samples", 1)
    if type(samples) is not int or samples < 1:
        raise UserError(f"STUDENTS[{name!r}]: {samples!r} samples; wanted a number from 1")
    return fields


def _wanted(field: str) -> str:
    names = {str: "a text", tuple: "a text or several", Mapping: "names with values"}
    return names.get(_KINDS[field], "a number")


def _arm(name: Any, given: Any) -> Arm:
    """Return one entry of STUDENTS; raise UserError where it says what nobody knows."""
    fields = _checked(name, given)
    fields = {field: value for field, value in fields.items() if value is not None}
    arm = Arm(name=name, **{"label": name.replace("_", " "), **fields})
    for style in (*(style for _, style in arm.taught()), *(arm.asked or ())):
        formats.style(style)
    if arm.role not in (None, *ROLES):
        raise UserError(f"STUDENTS[{name!r}]['role'] is {arm.role!r}; wanted one of {ROLES}")
    if bool(arm.combine) == bool(arm.style):
        raise UserError(f"STUDENTS[{name!r}]: wanted either 'style' or 'combine'")
    if arm.combine and (arm.combine not in HOW or not arm.of):
        raise UserError(f"STUDENTS[{name!r}]: wanted 'combine' of {HOW}, and 'of' which arms")
    return arm
