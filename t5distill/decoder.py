"""Decoding a split of a task or mixture with a trained student, as gin files say."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping

from etils import epath

from t5distill import data
from t5distill.api import Student
from t5distill.errors import UserError, suggest
from t5distill.evaluate.inference import infer
from t5distill.evaluate.rounds import Decoding
from t5distill.evaluate.sets import EvaluationSet, evaluation_sets
from t5distill.formats.vocabulary import SAVED_MODEL, use_vocabulary
from t5distill.runtime import import_tasks
from t5distill.student.sharding import make_mesh

DECODINGS = ("greedy", "sample", "beam")


def check_decoding(name: str, *, calculator: bool) -> None:
    """Raise UserError where DECODING is unknown, or the calculator does not go with it."""
    if name not in DECODINGS:
        raise UserError(f"DECODING is {name!r}; {suggest(name, DECODINGS)}")
    if name == "beam" and calculator:
        raise UserError("CALCULATOR is True, wanted False with DECODING 'beam'")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder:
    """What to decode, with what, and how; each field is a macro of gin/runs/infer.gin.

    Attributes:
      checkpoint_path: a MODEL_DIR (its best checkpoint), one checkpoint in it, or a Hugging Face
        directory.
      task: plain name of a task or mixture.
      task_module: the module that registers it.
      feature_lengths: its `targets` is the longest output in tokens.
      eval_task: plain name of what to decode instead of `task`, or None.
      split: `train`, `validation` or `test`.
      vocab: `t5`, `byt5` or `mt5`: which of the task's names is meant.
      vocab_path: the SentencePiece model, where the checkpoint's word is not to be taken.
      decoding: a name of `DECODINGS`.
      num_samples: predictions for each problem.
      temperature: of `sample`.
      beam_size: of `beam`.
      random_seed: of `sample`.
      calculator: whether the exact results of equations are forced; not with `beam`.
      dtype: `float32`, `bfloat16`, or None for the checkpoint's.
      model_parallelism: devices that one copy of the network is spread over.
      first_checkpoint_path: of two students the one that writes sub-questions, or the rationale
        that the other answers from; None where one student does both.
    """

    checkpoint_path: str
    task: str
    task_module: str
    feature_lengths: Mapping[str, int]
    eval_task: str | None = None
    split: str = "test"
    vocab: str = "t5"
    vocab_path: str | None = None
    decoding: str = "greedy"
    num_samples: int = 1
    temperature: float = 0.7
    beam_size: int = 4
    random_seed: int = 0
    calculator: bool = False
    dtype: str | None = None
    model_parallelism: int = 1
    first_checkpoint_path: str | None = None

    def __post_init__(self):
        check_decoding(self.decoding, calculator=self.calculator)
        if self.decoding == "greedy" and self.num_samples != 1:
            raise UserError(
                f"NUM_SAMPLES is {self.num_samples}, but DECODING 'greedy' gives one; wanted "
                "'sample' or 'beam'"
            )
        if self.decoding == "sample" and self.temperature <= 0:
            raise UserError(
                f"TEMPERATURE is {self.temperature}, wanted more than 0 with DECODING 'sample'"
            )
        use_vocabulary(self.vocab, self.vocab_path)
        import_tasks(self.task_module)

    def sets(self) -> list[EvaluationSet]:
        """Return the splits to decode, one for each task."""
        name = data.resolve(self.eval_task or self.task, self.vocab)
        return evaluation_sets(name, self.split)

    def load(self) -> tuple[Student, Student | None]:
        """Load the student, and the one that comes first; spread over the devices if several."""
        if self.first_checkpoint_path is None:
            return self._load(self.checkpoint_path), None
        return self._load(self.checkpoint_path), self._load(self.first_checkpoint_path)

    def _load(self, path: str) -> Student:
        self._check_vocabulary(path)
        mesh = make_mesh(self.model_parallelism)
        return Student.load(
            path,
            vocabulary=self.vocab if self.vocab_path else None,
            otherwise=self.vocab,
            dtype=self.dtype,
            mesh=mesh if mesh.size > 1 else None,
        )

    def _check_vocabulary(self, path: str) -> None:
        """Raise UserError where VOCAB_PATH is another vocabulary than lies beside a checkpoint.

        The student would read and write other pieces than those that it has learnt.
        """
        if self.vocab_path is None:
            return
        given = epath.Path(self.vocab_path)
        for folder in (epath.Path(path), epath.Path(path).parent):
            saved = folder / SAVED_MODEL
            if saved.exists():
                if saved.read_bytes() != given.read_bytes():
                    raise UserError(
                        f"VOCAB_PATH {given} is not the vocabulary of {path}, which is {saved}; "
                        "leave VOCAB_PATH unset"
                    )
                return

    def decode(
        self,
        students: tuple[Student, Student | None],
        each: EvaluationSet,
        out_path: pathlib.Path,
        stop: Callable[[], bool] = lambda: False,
    ) -> str:
        """Write the predictions of one set; return a line for the terminal.

        Args:
          students: of `load`.
          each: what to decode.
          out_path: where to.
          stop: asked after each turn of a problem; True ends the run with KeyboardInterrupt.
        """
        student, first = students
        if taught := _taught_otherwise(student, each.style):
            print(f"warning: {taught}", file=sys.stderr)
        done = infer(
            student=student,
            first=first,
            problems_path=each.problems_path,
            out_path=out_path,
            style=each.style,
            pool=each.pool(),
            decoding=Decoding(
                max_tokens=self.feature_lengths["targets"],
                num_samples=self.num_samples,
                temperature=self.temperature if self.decoding == "sample" else 0.0,
                beam_size=self.beam_size if self.decoding == "beam" else 1,
                seed=self.random_seed,
                calculator=self.calculator,
            ),
            stop=stop,
        )
        if done.set_aside:
            kept = ", ".join(done.set_aside)
            print(f"what was there had other settings and is now {kept}", file=sys.stderr)
        rate = f", {done.tokens / done.wall_s:.0f} tokens/s" if done.tokens else ""
        return (
            f"{out_path}: {done.problems} problems ({done.reused} were done), "
            f"{done.tokens} tokens in {done.wall_s:.1f} s{rate}"
        )


def _taught_otherwise(student: Student, style: str) -> str | None:
    """Return what is odd where a student is asked in a style that it was not taught, or None."""
    # `socratic_solve` is a share of `socratic`.
    if student.style is None or f"{student.style}_".startswith(f"{style}_"):
        return None
    return f"the student was taught style {student.style} ({student.task}) and is asked as {style}"
