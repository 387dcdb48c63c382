"""Where a task's examples come from: prepared problems, gold solutions, and curated chains.

A source emits pairs of JSON records, `problem` and `chain` (empty where there is none), so that one
set serves every style of text made from it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from t5distill import formats, places, records
from t5distill.curate.tfds_writer import MANIFEST, VERSION
from t5distill.errors import UserError
from t5distill.problems.benchmarks import GENERATED
from t5distill.records import SPLITS, Problem


@dataclasses.dataclass(frozen=True)
class ChainSet:
    """Which chains a task's train split holds.

    Attributes:
      benchmark: the benchmark's name, e.g. `gsm8k`.
      style: the style of the task.
      names: sets under `tfds/`, the first that exists is read; empty for the solutions in the
        problem file.
      one_per_problem: keep each problem's first chain only.
      grouped: emit all the chains of a problem together, as a list.
    """

    benchmark: str
    style: str
    names: tuple[str, ...] = ()
    one_per_problem: bool = False
    grouped: bool = False


class ChainSource(seqio.DataSource):
    """Chains for training, every problem for evaluation.

    Files are looked for under $T5DISTILL_DATA_DIR when a split is read, never before. TFDS sets are
    opened anew each time: seqio.TfdsDataSource keeps builders by path, and a set that was curated
    again would read stale.
    """

    def __init__(self, chains: ChainSet, splits: Sequence[str]):
        """Name the chains, and the splits that this benchmark has."""
        super().__init__(splits=splits)
        self.chains = chains

    def __repr__(self) -> str:
        return f"ChainSource({self.chains}, splits={self.splits})"

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """False: where there are fewer files than hosts, SeqIO shares out the examples."""
        return False

    def list_shards(self, split: str) -> Sequence[str]:
        """Return the files that hosts can share out among themselves."""
        if self._reads_tfds(split) and not self.chains.grouped:
            return [f.filename for f in self._builder().info.splits["train"].file_instructions]
        return [_problem_file(self.chains.benchmark, split)]

    def num_input_examples(self, split: str) -> int:
        """Return how many examples the split has."""
        if not self._reads_tfds(split):
            return len(self._pairs(split))
        manifest = _read_manifest(self._directory())
        if self.chains.one_per_problem or self.chains.grouped:
            return manifest["problems"]
        return manifest["examples"]["train"]

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **_unused: Any,
    ) -> tf.data.Dataset:
        """Return the split as JSON texts, `problem` and `chain`.

        Raises:
          UserError: the set is missing; the message names the command that makes it.
        """
        if self._reads_tfds(split) and not self.chains.grouped:
            return self._read_tfds(shuffle, seed, shard_info)
        pairs = self._groups(split) if self.chains.grouped else self._pairs(split)
        if shuffle:
            order = np.random.default_rng(seed).permutation(len(pairs))
            pairs = [pairs[i] for i in order]
        problems, chains = zip(*pairs, strict=True)
        columns: Any = {"problem": list(problems), "chain": list(chains)}
        dataset = tf.data.Dataset.from_tensor_slices(columns)
        return dataset.shard(shard_info.num_shards, shard_info.index) if shard_info else dataset

    def provenance(self) -> dict[str, Any]:
        """Return what a student that learns the train split ought to say of its data."""
        told = {"benchmark": self.chains.benchmark, "style": self.chains.style}
        if not self._reads_tfds("train"):
            return {**told, "chains": "of the benchmark"}
        manifest = _read_manifest(self._directory())
        kept = ("teachers", "examples", "problems", "sha256")
        return {**told, "chains": manifest["name"], **{k: manifest[k] for k in kept}}

    def _reads_tfds(self, split: str) -> bool:
        return split == "train" and bool(self.chains.names)

    def _read_tfds(
        self, shuffle: bool, seed: int | None, shard_info: seqio.ShardInfo | None
    ) -> tf.data.Dataset:
        """Return the chains of the TFDS set."""
        self._check_soft()
        config = tfds.ReadConfig(shuffle_seed=seed, skip_prefetch=True, try_autocache=False)
        if shard_info and shard_info.num_shards > 1:
            config.input_context = tf.distribute.InputContext(
                num_input_pipelines=shard_info.num_shards, input_pipeline_id=shard_info.index
            )
        dataset = self._builder().as_dataset(
            split="train", shuffle_files=shuffle, read_config=config
        )
        if self.chains.one_per_problem:
            dataset = dataset.filter(lambda example: example["first"] == 1)
        return dataset.map(lambda example: {k: example[k] for k in ("problem", "chain")})

    def _check_soft(self) -> None:
        """Raise UserError where log-probabilities are wanted that nobody has looked at."""
        style = formats.style(self.chains.style)
        if style.soft is None or not style.needs_chain:
            return
        directory = self._directory()
        found = _read_manifest(directory).get("soft_labels") or 0
        if found < style.soft.k:
            has = f"{found} a token" if found else "none that were checked"
            raise UserError(
                f"{directory}: style {self.chains.style} learns a teacher's {style.soft.k} "
                f"likeliest tokens, and this set has {has}; ask with `t5distill generate "
                f"--top-logprobs {style.soft.k}` and curate with --soft-labels {style.soft.k}"
            )

    def stamp(self, split: str) -> object:
        """Return what changes when the files of a split do."""
        if self._reads_tfds(split):
            manifest = os.path.join(self._directory(), MANIFEST)
            return manifest, tf.io.gfile.stat(manifest).mtime_nsec
        return _stamp(_problem_file(self.chains.benchmark, split), self.chains.benchmark)

    def _groups(self, split: str) -> Sequence[tuple[str, str]]:
        """Return problems with all their chains, as a list in JSON."""
        if not self._reads_tfds(split):
            return [(problem, f"[{chain}]") for problem, chain in self._pairs(split)]
        grouped: dict[str, list[str]] = {}
        pairs: Any = self._read_tfds(False, None, None).as_numpy_iterator()
        for pair in pairs:
            grouped.setdefault(pair["problem"].decode(), []).append(pair["chain"].decode())
        return [(problem, f"[{','.join(sorted(some))}]") for problem, some in grouped.items()]

    def _builder(self) -> Any:
        return tfds.builder_from_directory(self._directory())

    def _directory(self) -> str:
        """Return the directory of the first set that exists."""
        tried = [under_root("tfds", name, VERSION) for name in self.chains.names]
        for directory in tried:
            if tf.io.gfile.exists(os.path.join(directory, MANIFEST)):
                return directory
        raise UserError(
            f"{tried[0]}: no such set of chains; make it with `t5distill curate --problems "
            f"{_problem_file(self.chains.benchmark, 'train')} --chains CHAINS`, or from your own "
            "program with t5distill.data.write_tfds"
        )

    def _pairs(self, split: str) -> Sequence[tuple[str, str]]:
        """Return problems with the chains to learn, both as JSON."""
        path = _problem_file(self.chains.benchmark, split)
        pairs = _gold_pairs(path, _stamp(path, self.chains.benchmark), self.chains.style)
        if split != "train" or not formats.style(self.chains.style).needs_chain:
            return pairs
        if formats.style(self.chains.style).soft:
            raise UserError(
                f"{path}: a benchmark's own solutions have no log-probabilities; style "
                f"{self.chains.style} needs a teacher's chains"
            )
        with_chain = [pair for pair in pairs if pair[1]]
        if not with_chain:
            raise UserError(
                f"{path}: none of its {len(pairs)} problems has a solution, so there is no gold "
                f"{self.chains.style} to learn; a teacher's are tasks of their own once they are "
                f"curated, {self.chains.benchmark}_{self.chains.style}_TEACHER"
            )
        return with_chain


@functools.lru_cache(maxsize=8)
def _gold_pairs(path: str, stamp: tuple[int, int], style: str) -> tuple[tuple[str, str], ...]:
    """Return each problem of a file with its own solution as a chain, or with none, as JSON."""
    pairs = []
    for problem in records.read_jsonl(Problem, path):
        chain = formats.gold_chain(problem, style=style)
        pairs.append((records.to_json(problem), records.to_json(chain) if chain else ""))
    if not pairs:
        raise UserError(f"{path}: holds no problem")
    return tuple(pairs)


def curated_manifest(name: str) -> dict[str, Any] | None:
    """Return the manifest of the curated set of that name, or None where there is none."""
    directory = under_root("tfds", name, VERSION)
    if not tf.io.gfile.exists(os.path.join(directory, MANIFEST)):
        return None
    return _read_manifest(directory)


def _read_manifest(directory: str) -> dict[str, Any]:
    with tf.io.gfile.GFile(os.path.join(directory, MANIFEST)) as f:
        return json.load(f)


def present_splits(benchmark: str) -> list[str]:
    """Return the splits whose problem files exist."""
    return [s for s in SPLITS if tf.io.gfile.exists(_problem_file(benchmark, s))]


def _problem_file(benchmark: str, split: str) -> str:
    return under_root(benchmark, f"{split}.jsonl")


def under_root(*parts: str) -> str:
    """Return a path under the root of prepared data, which may be a bucket."""
    return os.fspath(records.data_dir().joinpath(*parts))


def _stamp(path: str, benchmark: str) -> tuple[int, int]:
    """Return size and time of a file's last change, so that a rewritten file is read again."""
    try:
        if places.is_remote(path):
            remote = tf.io.gfile.stat(path)
            return remote.length, remote.mtime_nsec
        # TensorFlow rounds times to seconds.
        local = os.stat(path)
        return local.st_size, local.st_mtime_ns
    except (FileNotFoundError, tf.errors.NotFoundError) as e:
        raise UserError(
            f"{path}: no such file; make it with `{_prepare_command(benchmark)}` "
            "($T5DISTILL_DATA_DIR, or else ./data, is the root of prepared data)"
        ) from e


def _prepare_command(benchmark: str) -> str:
    """Return the command that makes a benchmark's files."""
    for generator in GENERATED:
        # A generator also makes its out-of-domain sets, e.g. coin_flip_4.
        if benchmark == generator or benchmark.startswith(f"{generator}_"):
            return f"t5distill prepare {generator}"
    return f"t5distill prepare {benchmark} --raw PATH"
