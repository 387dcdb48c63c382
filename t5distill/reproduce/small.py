"""What a tiny run has in the place of downloads and a paid teacher."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
from collections.abc import Iterator

from t5distill.reproduce.chains import Asked
from t5distill.reproduce.experiment import OTHER_SIMULATED, SIMULATED, TINY_BENCHMARK
from t5distill.reproduce.options import Options

# One chain in five is wrong, one in twenty malformed; another teacher is wrong twice as often.
WRONG_RATE, WORSE_RATE, MALFORMED_RATE = 0.2, 0.4, 0.05
VOCAB_SIZE = 900
_VARIABLE = "T5DISTILL_T5_VOCAB"
_STYLES = ("cot", "program", "equation", "socratic", "key_points")


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


def train_vocabulary(options: Options) -> None:
    """Train one vocabulary that every style's texts are spelled in, where there is none yet."""
    from t5distill.formats import train_vocabulary
    from t5distill.records import Chain, Problem, read_jsonl
    from t5distill.teacher.loopback.answers import Writer

    def chain(problem: Problem, style: str) -> Chain:
        text = writer.text(problem, style)
        return Chain(problem_id=problem.id, style=style, text=text, teacher=SIMULATED)

    path = _vocabulary(options)
    if path.is_file():
        return
    writer = Writer()
    problems = read_jsonl(Problem, options.data / TINY_BENCHMARK / "train.jsonl")
    some = list(itertools.islice(problems, 1000))
    chains = ((style, p, chain(p, style)) for p in some for style in _STYLES)
    train_vocabulary.of_examples(chains, path, vocab_size=VOCAB_SIZE)
    print(f"\nvocabulary: {path}, from {len(some):,} training problems in every style")


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
