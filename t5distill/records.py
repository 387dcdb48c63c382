"""The four records that the stages exchange, and JSONL in and out.

Every stage reads and writes UTF-8 JSON Lines. Fields that this version does not know are kept, in
`extra`, and written back, so that a user's own annotations survive the corridor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from t5distill import places
from t5distill.errors import UserError
from t5distill.places import Path

KINDS = ("numeric", "choice", "yes_no", "date", "string", "latex")
OUTCOMES = (
    "correct",
    "wrong",
    "no_answer",
    "truncated",
    "error",
    "timeout",
    "rejected",
    "missing",
)
STYLES = ("answer", "cot", "socratic", "program", "equation", "key_points")
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """One question with its gold answer.

    Attributes:
      id: unique within its benchmark, e.g. `gsm8k-test-17`.
      question: the text a person would read, without answer options.
      answer: the gold answer: a decimal or fraction, an option letter, `yes` or `no`, MM/DD/YYYY,
        or text, as `kind` says.
      kind: one of `KINDS`.
      benchmark: e.g. `gsm8k`.
      split: `train`, `validation` or `test`.
      choices: option texts, lettered A, B, ... by position (a text may be empty where only its
        letter is known), or None.
      solution: the benchmark's own worked solution, or None.
      meta: whatever else the source says.
      extra: fields of the JSON object that this version does not know.
    """

    id: str
    question: str
    answer: str
    kind: str
    benchmark: str
    split: str
    choices: list[str] | None = None
    solution: str | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, wanted one of {', '.join(KINDS)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain:
    """One rationale for one problem. `text` is plain, never vocabulary-encoded.

    `meta["tokens"]`, where the teacher gave log-probabilities, is
    `[{"text": ..., "top": [[text, logprob], ...]}, ...]`.
    """

    problem_id: str
    style: str
    text: str
    teacher: str
    sample: int = 0
    prompt_sha: str | None = None
    verdict: str | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """One decoded output of a student. `finished` is False where decoding hit its length limit."""

    problem_id: str
    text: str
    sample: int = 0
    finished: bool = True
    style: str | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `verify` says of one text.

    Attributes:
      problem_id: filled by `score`; None from `judge`.
      sample: filled by `score`; None from `judge`.
      outcome: one of `OUTCOMES`, or None where there was no gold answer to compare with.
      answer: the extracted answer in canonical form, or None.
      gold: the gold answer as given.
      extraction: `marker`, `equation`, `last`, `executed`, `solved` or `none`.
      detail: one sentence for a person.
    """

    problem_id: str | None = None
    sample: int | None = None
    outcome: str | None = None
    answer: str | None = None
    gold: str | None = None
    extraction: str = "none"
    detail: str = ""
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


Record = TypeVar("Record", Problem, Chain, Prediction, Verdict)


def to_json(record: Problem | Chain | Prediction | Verdict) -> str:
    """Return one line of JSON (no newline character), unknown fields included."""
    fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    extra = fields.pop("extra")
    return json.dumps({**fields, **extra}, ensure_ascii=False)


def from_object(cls: type[Record], obj: Any) -> Record:
    """Build a record from a decoded JSON object; raise ValueError where it does not fit."""
    if not isinstance(obj, dict):
        raise ValueError(f"found {type(obj).__name__}, wanted a JSON object")
    known = {f.name: f for f in dataclasses.fields(cls)}
    given = {k: v for k, v in obj.items() if k in known and k != "extra"}
    missing = [
        name
        for name, f in known.items()
        if name not in given
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{cls.__name__} lacks {', '.join(missing)}")
    for name, value in given.items():
        if not _fits(value, str(known[name].type)):
            raise ValueError(f"{name} is {value!r}, wanted {known[name].type}")
    if cls is Problem and given["split"] not in SPLITS:
        raise ValueError(f"split is {given['split']!r}, wanted one of {', '.join(SPLITS)}")
    extra = {k: v for k, v in obj.items() if k not in known}
    if "extra" in obj:
        extra["extra"] = obj["extra"]
    return cls(**given, extra=extra)


def _fits(value: Any, annotation: str) -> bool:
    """Check a JSON value against the annotation of a record's field."""
    alternatives = [part.strip() for part in annotation.split("|")]
    checks = {
        "str": lambda v: isinstance(v, str),
        "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
        "bool": lambda v: isinstance(v, bool),
        "None": lambda v: v is None,
        "list[str]": lambda v: isinstance(v, list) and all(isinstance(x, str) for x in v),
        "dict[str, Any]": lambda v: isinstance(v, dict),
    }
    return any(checks[a](value) for a in alternatives)


def read_jsonl(cls: type[Record], path: Path) -> Iterator[Record]:
    """Yield the records of a JSON Lines file.

    Lines end at a line feed only: problem texts hold U+2028 and its like, which `str.splitlines`
    would take for line ends.

    Raises:
      UserError: the file is missing, is not UTF-8, or a line is not such a record (file and line).
    """
    path = places.place(path)
    if path.is_dir():
        raise UserError(f"{path}: a folder; wanted a file, JSON Lines of {cls.__name__}")
    if not path.is_file():
        raise UserError(f"{path}: no such file; wanted JSON Lines of {cls.__name__}")
    with places.reading(path) as f:
        for number, raw in enumerate(f, start=1):
            if not raw.strip():
                continue
            try:
                yield from_object(cls, decoded(raw))
            except (ValueError, RecursionError) as e:
                raise UserError(f"{path}:{number}: not a {cls.__name__}: {e}") from e


def decoded(line: bytes) -> Any:
    """Return the JSON of UTF-8 bytes; half a surrogate pair, which JSON may hold, is refused."""
    obj = json.loads(line.decode("utf-8"))
    if b"\\ud" in line or b"\\uD" in line:
        json.dumps(obj, ensure_ascii=False).encode("utf-8")
    return obj


def read_problems(paths: Iterable[Path]) -> dict[str, Problem]:
    """Return the problems of several files by id.

    Raises:
      UserError: as `read_jsonl`, or an id stands twice.
    """
    problems: dict[str, Problem] = {}
    for path in paths:
        for problem in read_jsonl(Problem, path):
            if problem.id in problems:
                raise UserError(f"{path}: problem {problem.id!r} stands twice")
            problems[problem.id] = problem
    return problems


def write_jsonl(path: Path, records: Iterable[Problem | Chain | Prediction | Verdict]) -> int:
    """Write records to `path`, whole or not at all; return how many."""
    count = 0
    with atomic_write(path) as f:
        for record in records:
            f.write(to_json(record) + "\n")
            count += 1
    return count


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Any]:
    """Open a text file that takes its name only when the block ends without an exception."""
    path = places.place(path)
    remote = places.is_remote(path)
    if not remote:
        path.parent.mkdir(parents=True, exist_ok=True)
    folder = None if remote else path.parent
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    try:
        # newline="" keeps "\r" and U+0085 inside strings as they are (json escapes only "\n").
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        places.move(pathlib.Path(temporary), path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_json(path: Path, obj: Any) -> None:
    """Write one JSON document, indented, whole or not at all."""
    with atomic_write(path) as f:
        json.dump(obj, f, ensure_ascii=False, indent=2)
        f.write("\n")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with places.reading(path) as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def data_dir() -> pathlib.Path:
    """Return the root of prepared data: `$T5DISTILL_DATA_DIR`, or `./data`."""
    return places.place(os.environ.get("T5DISTILL_DATA_DIR", "data"))
