"""What a tiny run has in the place of downloads and a paid teacher."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator

from t5distill.reproduce.chains import Asked
from t5distill.reproduce.experiment import OTHER_SIMULATED, SIMULATED, TINY_BENCHMARK
from t5distill.reproduce.options import Options
from t5distill.reproduce.running import Stages, command

# One chain in five is wrong, one in twenty malformed; another teacher is wrong twice as often.
WRONG_RATE, WORSE_RATE, MALFORMED_RATE = 0.2, 0.4, 0.05
VOCAB_SIZE = 900
_VARIABLE = "T5DISTILL_T5_VOCAB"
_STYLES = ("cot", "program", "equation", "socratic", "key_points")


def prepare(benchmarks: Iterable[str], options: Options, stages: Stages) -> None:
    """Make problems that need no download, and a vocabulary of the embedded ones' texts."""
    from t5distill.problems.benchmarks import GENERATED

    # The vocabulary is the same whatever is learnt.
    for benchmark in dict.fromkeys((TINY_BENCHMARK, *benchmarks)):
        if (options.data / benchmark / "test.jsonl").is_file():
            stages.skipped("prepare")
            continue
        made_by = next(g for g in GENERATED if benchmark.startswith(g))
        with stages(f"prepare {made_by}", kind="prepare"):
            command(
                *("prepare", made_by, "--seed", str(options.seeds[0])),
                *("--sizes", *map(str, options.sizes)),
            )
    vocabulary = _vocabulary(options)
    if not vocabulary.is_file() and not options.dry:
        _train_vocabulary(options.data / TINY_BENCHMARK / "train.jsonl", vocabulary)


@contextlib.contextmanager
def vocabulary_of(options: Options) -> Iterator[None]:
    """Let the tiny vocabulary stand for T5's while the block runs."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(_vocabulary(options))
    print(f"$ export {_VARIABLE}={_vocabulary(options)}")
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def _vocabulary(options: Options) -> pathlib.Path:
    return options.work / "vocabulary.model"


def _train_vocabulary(problems: pathlib.Path, path: pathlib.Path) -> None:
    """Train one vocabulary that every style's texts are spelled in."""
    from t5distill import formats
    from t5distill.formats.train_vocabulary import train_sentencepiece
    from t5distill.records import Chain, Problem, read_jsonl
    from t5distill.teacher.loopback.answers import Writer

    writer, texts = Writer(), []
    for problem in itertools.islice(read_jsonl(Problem, problems), 1000):
        for style in _STYLES:
            chain = Chain(
                problem_id=problem.id,
                style=style,
                text=writer.text(problem, style),
                teacher=SIMULATED,
            )
            for example in formats.style(style).examples(problem, chain):
                texts += [example.inputs, example.targets]
    train_sentencepiece(texts, path, vocab_size=VOCAB_SIZE, split_digits=True)
    print(f"\nvocabulary: {path}, from the texts of 1,000 training problems in every style")


@contextlib.contextmanager
def teacher(asked: Asked, options: Options) -> Iterator[Asked]:
    """Serve the simulated teacher while the block runs; give what is to be asked of it."""
    from t5distill.teacher.loopback import LoopbackProcess

    if options.dry:
        yield asked._replace(teacher=f"{TINY_BENCHMARK}@http://127.0.0.1:PORT/v1")
        return
    other = asked.name.startswith(OTHER_SIMULATED)
    server = LoopbackProcess(
        options.data / asked.benchmark / "train.jsonl",
        model=TINY_BENCHMARK,
        seed=options.seeds[0],
        wrong_rate=WORSE_RATE if other else WRONG_RATE,
        malformed_rate=MALFORMED_RATE,
    )
    with server:
        yield asked._replace(teacher=f"{TINY_BENCHMARK}@{server.url}")
