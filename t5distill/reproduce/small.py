"""What a tiny run has in the place of downloads and a paid teacher."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
from collections.abc import Iterator

from t5distill.reproduce.chains import Asked
from t5distill.reproduce.experiment import OTHER_SIMULATED, SIMULATED, TINY_BENCHMARK
from t5distill.reproduce.options import Options

# One chain in five is wrong, one in twenty malformed; another teacher is wrong twice as often.
WRONG_RATE, WORSE_RATE, MALFORMED_RATE = 0.2, 0.4, 0.05
VOCAB_SIZE = 900
VARIABLE = "T5DISTILL_T5_VOCAB"
_STYLES = ("cot", "program", "equation", "socratic", "key_points")


def vocabulary(options: Options) -> pathlib.Path:
    """Return the vocabulary that stands for T5's, see `VARIABLE`."""
    return options.work / "vocabulary.model"


def train_vocabulary(options: Options) -> None:
    """Train one vocabulary that every style's texts are spelled in, where there is none yet."""
    from t5distill.formats import train_vocabulary
    from t5distill.records import Chain, Problem, read_jsonl
    from t5distill.teacher.loopback.answers import Writer

    def chain(problem: Problem, style: str) -> Chain:
        text = writer.text(problem, style)
        return Chain(problem_id=problem.id, style=style, text=text, teacher=SIMULATED)

    path = vocabulary(options)
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

    other = asked.name.startswith(OTHER_SIMULATED)
    # A ledger knows an answer by the model that was asked, whatever its chains are called.
    model = f"{TINY_BENCHMARK}_other" if other else TINY_BENCHMARK
    if options.dry:
        yield asked._replace(teacher=f"{model}@http://127.0.0.1:PORT/v1")
        return
    server = LoopbackProcess(
        options.data / asked.benchmark / "train.jsonl",
        model=model,
        seed=options.seeds[0],
        wrong_rate=WORSE_RATE if other else WRONG_RATE,
        malformed_rate=MALFORMED_RATE,
    )
    with server:
        yield asked._replace(teacher=f"{model}@{server.url}")
