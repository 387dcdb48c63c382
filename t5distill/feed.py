"""What a training run reads: its task, the batches made of it, and what it is measured on."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from t5distill import data, places
from t5distill.api import Student
from t5distill.data import mixing
from t5distill.data.vocabularies import check_size
from t5distill.errors import UserError
from t5distill.evaluate import sets
from t5distill.formats import vocabulary as vocabularies
from t5distill.runtime import import_tasks
from t5distill.student import sharding
from t5distill.student.config import T5Config

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feed:
    """The data of one run; each field is a macro of gin/runs/train.gin, explained there.

    Attributes:
      task: plain name of the task or mixture to train on.
      task_module: the module that registers it.
      feature_lengths: tokens of `inputs` and `targets` in a row.
      batch_size: rows in a batch, over all devices and microbatches.
      vocab: `t5`, `byt5` or `mt5`.
      vocab_path: the SentencePiece model; None means $T5DISTILL_T5_VOCAB, or else the public one.
      pack: put several examples into a row.
      use_cached: read SeqIO's offline cache.
      random_seed: of shuffling and mixing.
      eval_task: plain name of what to measure on; None for `task`.
      eval_split: its split.
      eval_steps: batches to measure the loss on, and times `batch_size` the problems of each task
        to decode; 0 for all.
    """

    task: str
    task_module: str
    feature_lengths: Mapping[str, int]
    batch_size: int
    vocab: str
    vocab_path: str | None = None
    pack: bool = True
    use_cached: bool = False
    random_seed: int = 0
    eval_task: str | None = None
    eval_split: str = "validation"
    eval_steps: int = 0

    def __post_init__(self):
        lengths = self.feature_lengths
        if set(lengths) != {"inputs", "targets"} or min(lengths.values()) < 2:
            raise UserError(
                f"TASK_FEATURE_LENGTHS is {dict(lengths)}, wanted tokens of inputs and targets, "
                "e.g. {'inputs': 256, 'targets': 256}"
            )
        if self.batch_size < 1 or self.eval_steps < 0:
            raise UserError("wanted BATCH_SIZE of at least 1 and EVAL_STEPS of at least 0")
        vocabularies.use_vocabulary(self.vocab, self.vocab_path)
        import_tasks(self.task_module)

    def check(self, config: T5Config, mesh: Mesh) -> None:
        """Raise UserError where the vocabulary or the processes do not fit."""
        data.resolve(self.eval_task or self.task, self.vocab)
        data.resolve(self.task, self.vocab)
        check_size(self.vocab, config.vocab_size)
        shares = sharding.data_layout(mesh)[1]
        if self.batch_size % shares:
            raise UserError(f"BATCH_SIZE is {self.batch_size}, wanted a multiple of {shares}")

    def check_vocabulary(self, teacher: Student) -> None:
        """Raise UserError where a white-box teacher spells in other tokens than the student.

        A checkpoint that does not say what its vocabulary is, such as T5X's, is taken at its size.
        """
        other, own = teacher.known_vocabulary(), vocabularies.load(self.vocab)
        if other is None:
            return
        samples = ("She has 3 + 4 = 7 pens, and 5/2 of 10 is 25.", "The answer is -1,080.5 %.\n")
        if any(own.encode(text) != other.encode(text) for text in samples):
            raise UserError(
                f"its vocabulary is {other!r}, the student's {own!r}; a white-box "
                "teacher needs the student's (others teach through log-probabilities of text)"
            )

    def record(self) -> dict[str, Any]:
        """Return what config.json says of the data, so that a student can be asked questions."""
        name = data.resolve(self.task, self.vocab)
        styles = sets.styles(name)
        path = None
        if self.vocab in vocabularies.MODEL_FILES:
            path = vocabularies.model_file(self.vocab)
            path = path if places.is_remote(path) else os.path.abspath(path)
        return {
            "vocab": {"name": self.vocab, "path": path},
            "task": self.task,
            "style": styles.pop() if len(styles) == 1 else None,
            "task_feature_lengths": dict(self.feature_lengths),
            "data": sets.provenance(name),
        }

    def save_vocabulary(self, model_dir: str) -> None:
        """Copy a local SentencePiece model beside the checkpoints, so that a student can move."""
        if self.vocab not in vocabularies.MODEL_FILES:
            return
        source = vocabularies.model_file(self.vocab)
        if places.is_remote(source):
            return  # found under the same name from anywhere
        folder = epath.Path(model_dir)
        saved = folder / vocabularies.SAVED_MODEL
        if saved.exists() and saved.read_bytes() != epath.Path(source).read_bytes():
            raise UserError(
                f"{folder}: begun with another vocabulary than {source}; take another MODEL_DIR, "
                f"or --gin.VOCAB_PATH=\"'{saved}'\" to go on with its own"
            )
        folder.mkdir(parents=True, exist_ok=True)
        epath.Path(source).copy(saved, overwrite=True)

    def training(self, mesh: Mesh) -> TrainingBatches:
        """Return what gives the training batches from a step on, without end."""
        name = data.resolve(self.task, self.vocab)
        return TrainingBatches(
            lambda step: self._stream(mesh, name, split="train", start_step=step),
            name,
            self.random_seed,
            sharding.data_layout(mesh)[1],
        )

    def validation(self, mesh: Mesh) -> Callable[[], Iterable[Batch]]:
        """Return what gives one pass over the validation split."""
        name = data.resolve(self.eval_task or self.task, self.vocab)

        def one_pass() -> Iterable[Batch]:
            stream = self._stream(mesh, name, split=self.eval_split, shuffle=False, repeat=False)
            return itertools.islice(stream, self.eval_steps or None)

        return Kept(one_pass)

    def accuracy(
        self, config: T5Config, mesh: Mesh
    ) -> Callable[[Any, int], dict[str, float]] | None:
        """Return what decodes the validation problems and judges the answers.

        None where a task was not made by `data.register` and so does not say what its problems are;
        the best checkpoint is then the one with the lowest loss.
        """
        name = data.resolve(self.eval_task or self.task, self.vocab)
        if None in sets.styles(name):
            return None
        chosen = sets.evaluation_sets(name, self.eval_split)
        # SeqIO's own object, which reads gs:// too; it declares its methods more widely.
        vocabulary: Any = data.vocabulary(self.vocab)

        def measure(params: Any, step: int) -> dict[str, float]:
            student = Student(
                params,
                config,
                vocabulary=vocabulary,
                mesh=mesh if jax.device_count() > 1 else None,
            )
            return sets.measure(
                student,
                chosen,
                max_tokens=self.feature_lengths["targets"],
                limit=self.eval_steps * self.batch_size or None,
            )

        return measure

    def _stream(self, mesh: Mesh, name: str, **options: Any) -> Iterator[Batch]:
        """Yield this process's rows of each batch."""
        index, shares = sharding.data_layout(mesh)
        return data.stream_batches(
            name,
            lengths=self.feature_lengths,
            batch_size=self.batch_size // shares,
            pack=self.pack,
            seed=self.random_seed,
            shard_index=index,
            num_shards=shares,
            use_cached=self.use_cached,
            **options,
        )


# Of validation batches in memory; longer splits are read anew.
_MOST_KEPT = 256 * 2**20


class Kept:
    """Batches that are the same in every pass, read once where memory holds them.

    What reads them takes longer to begin than a small split takes to measure.
    """

    def __init__(self, read: Callable[[], Iterable[Batch]], *, most: int = _MOST_KEPT):
        self._read = read
        self._most = most
        self._batches: list[Batch] | None = None

    def __call__(self) -> Iterable[Batch]:
        """Return one pass; only one that came to its end is kept."""
        return self._pass() if self._batches is None else iter(self._batches)

    def _pass(self) -> Iterator[Batch]:
        kept: list[Batch] = []
        size = 0
        for batch in self._read():
            size += sum(array.nbytes for array in batch.values())
            if size <= self._most:
                kept.append(batch)
            else:
                # No longer held, the first ones are free again.
                kept.clear()
            yield batch
        if size <= self._most:
            self._batches = kept


class TrainingBatches:
    """The batches of a run from a step on, and what of each task was in those that were taken."""

    def __init__(self, stream: Callable[[int], Iterator[Batch]], task: str, seed: int, shares: int):
        self._stream = stream
        self._task, self._seed, self._shares = task, seed, shares
        self._counted = mixing.Counted(())

    def __call__(self, step: int) -> Iterator[Batch]:
        """Yield the batches that follow `step`."""
        self._counted = mixing.Counted(self._stream(step))
        return iter(self._counted)

    def seen(self, step: int) -> dict[str, int]:
        """Return the examples of each task up to a step, all processes together.

        A run that was resumed is taken to have had as many examples a batch before as after.
        """
        counted = self._counted
        local = round(counted.examples / max(counted.batches, 1) * step)
        found = mixing.composition(self._task, local, seed=self._seed)
        return {name: count * self._shares for name, count in found.items()}
