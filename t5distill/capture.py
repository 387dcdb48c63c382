"""`t5distill capture`: what a white-box teacher would have written, kept beside its chains.

A student of the same vocabulary learns the teacher's own tokens (`meta.soft`); for one of another
vocabulary they are kept as text (`meta.tokens`), as those of a teacher behind an API, and aligned.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from t5distill.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from t5distill.api import Student
    from t5distill.records import Chain, Problem

HELP = (
    "Run a T5 teacher over chains and keep, at each token, its likeliest tokens with their "
    "log-probabilities. The same command again goes on where it was stopped."
)
EXAMPLE = (
    "t5distill capture --checkpoint runs/teacher --problems data/gsm8k/train.jsonl "
    "--chains data/chains/gsm8k_cot_gold/kept.jsonl --name large --out captured.jsonl"
)
# Tokens that rows are padded to a multiple of: each width is a compilation.
_WIDTH = 64
# As texts, some tokens are the same or, as half of the bytes, none: so many more are looked at.
_SPARE = 256
VOCABULARIES = ("t5", "byt5", "mt5")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add(
        "--checkpoint",
        required=True,
        metavar="DIR",
        help="the teacher: a MODEL_DIR, a checkpoint of t5distill or T5X, or a Hugging Face folder",
    )
    add(
        "--teacher-vocab",
        metavar="V",
        help="t5, byt5, mt5 or a SentencePiece model, where the checkpoint does not say it (T5X's)",
    )
    add("--problems", required=True, nargs="+", metavar="F", help="JSONL of Problem")
    add("--chains", required=True, nargs="+", metavar="F", help="JSONL of Chain, e.g. kept.jsonl")
    add("--out", required=True, metavar="F", help="where the chains go, with what was captured")
    add("--name", required=True, help="the teacher of the chains from here on, e.g. flan_large")
    add("--top", type=int, default=20, metavar="K", help="tokens at each place (default: 20)")
    add(
        "--vocab",
        choices=VOCABULARIES,
        help="the student's vocabulary, where it is not the teacher's: then texts are kept",
    )
    add("--batch-size", type=int, default=16, metavar="N", help="rows at a time (default: 16)")


def run(args: argparse.Namespace) -> None:
    """Capture what is missing."""
    from tqdm import tqdm

    from t5distill import places
    from t5distill.api import Student
    from t5distill.evaluate.captures import Captures
    from t5distill.student.sharding import make_mesh

    if args.top < 1 or args.batch_size < 1:
        raise UserError("wanted --top and --batch-size of at least 1")
    if args.name == "gold":
        raise UserError("--name gold: that is a benchmark's own solutions; wanted another name")
    pairs = _pairs(args)
    teacher = Student.load(args.checkpoint, vocabulary=args.teacher_vocab, mesh=make_mesh())
    if teacher.known_vocabulary() is None:
        raise UserError(f"{args.checkpoint}: does not say its vocabulary; give --teacher-vocab")
    capturer = Capturer(teacher, args)
    about = {**capturer.about, "of": capturer.digest(pairs)}
    captures = Captures(places.place(args.out), about, count=len(pairs))
    with captures.opened() as done:
        todo = pairs[done:]
        with tqdm(total=len(pairs), initial=done, unit=" chains") as bar:
            for begin in range(0, len(todo), args.batch_size):
                for chain in capturer.captured(todo[begin : begin + args.batch_size]):
                    captures.add(chain)
                    bar.update()
    print(f"{len(pairs):,} chains with the {args.top} likeliest tokens at each place: {args.out}")
    print(
        f"next: t5distill curate --problems {' '.join(args.problems)} --chains {args.out} "
        f"--soft-labels {args.top}"
    )


def _pairs(args: argparse.Namespace) -> list[tuple[Problem, Chain]]:
    """Return the chains, each with its problem."""
    from t5distill.records import Chain, read_jsonl, read_problems

    problems = read_problems(args.problems)
    chains = [chain for path in args.chains for chain in read_jsonl(Chain, path)]
    stray = next((c.problem_id for c in chains if c.problem_id not in problems), None)
    if stray is not None or not chains:
        what = "no chain there" if stray is None else f"problem {stray!r} is not among --problems"
        raise UserError(f"{', '.join(args.chains)}: {what}")
    return [(problems[chain.problem_id], chain) for chain in chains]


class Capturer:
    """Runs the teacher over pairs of problems and chains."""

    def __init__(self, teacher: Student, args: argparse.Namespace):
        """Say what the result will depend on, beside the chains."""
        self.teacher, self.args = teacher, args
        if args.top > teacher.config.vocab_size:
            raise UserError(f"--top {args.top}: the teacher has {teacher.config.vocab_size} tokens")
        self.about = {
            "network": teacher.fingerprint(),
            **{name: getattr(args, name) for name in ("name", "top", "vocab")},
        }

    def digest(self, pairs: Sequence[tuple[Problem, Chain]]) -> str:
        """Return what tells these texts from others."""
        from t5distill import records

        found = hashlib.sha256()
        for problem, chain in pairs:
            said = (*_texts(problem, chain), records.to_json(chain))
            found.update("\0".join(said).encode())
        return found.hexdigest()

    def captured(self, pairs: Sequence[tuple[Problem, Chain]]) -> Iterator[Chain]:
        """Yield the chains with what the teacher would have written at each of their tokens."""
        import numpy as np

        from t5distill.student.scheduler import padded
        from t5distill.student.top_tokens import top_tokens

        teacher = self.teacher
        texts = [_texts(problem, chain) for problem, chain in pairs]
        # A fixed number of rows, so that the last batch compiles nothing anew.
        count = self.args.batch_size
        if teacher.mesh is not None:
            count += -count % teacher.mesh.shape["data"]
        rows = [[teacher.encode(text) for text in column] for column in zip(*texts, strict=True)]
        longest = [max(map(len, column)) for column in rows]
        widths = [length + -length % _WIDTH for length in longest]
        inputs, targets = (padded(*of) for of in zip(rows, (count, count), widths, strict=True))
        most = min(
            self.args.top + _SPARE * (self.args.vocab is not None), teacher.config.vocab_size
        )
        found = top_tokens(teacher.params, inputs, targets, config=teacher.config, k=most)
        ids, values, own = map(np.asarray, found)
        for i, (_, chain) in enumerate(pairs):
            tokens = rows[1][i]
            count = len(tokens)
            yield self._with(chain, texts[i][1], tokens, ids[i][:count], values[i][:count], own[i])

    def _with(
        self,
        chain: Chain,
        text: str,
        tokens: list[int],
        ids: np.ndarray,
        values: np.ndarray,
        own: np.ndarray,
    ) -> Chain:
        """Return a chain with one target's tokens captured."""
        meta = {k: v for k, v in chain.meta.items() if k not in ("tokens", "soft")}
        if self.args.vocab is None:
            # Rounded down, so that the probabilities of a token still add up to no more than 1.
            logprobs = [[_down(x) for x in row] for row in values.tolist()]
            meta["soft"] = {"tokens": tokens, "ids": ids.tolist(), "logprobs": logprobs}
        else:
            meta["tokens"] = self._as_text(text, tokens, ids, values, own)
            chain = dataclasses.replace(chain, text=text)
        return dataclasses.replace(chain, teacher=self.args.name, meta=meta)

    def _as_text(
        self, text: str, tokens: list[int], ids: np.ndarray, values: np.ndarray, own: np.ndarray
    ) -> list[dict[str, Any]]:
        """Return `meta.tokens` of a text: each token's surface, and those of the likeliest.

        Several tokens that spell one character are one, with the alternatives of the first.
        """
        vocabulary: Any = self.teacher.vocabulary
        _, ends = vocabulary.spans(text)
        found, begin, first = [], 0, 0
        for place, end in enumerate(ends):
            if end == begin:
                continue
            surface = text[begin:end]
            top = self._alternatives(tokens[:first], ids[first].tolist(), values[first].tolist())
            if surface not in top:
                sure = _down(float(own[first : place + 1].sum()))
                least = min(top.values(), default=0.0)
                top = {surface: min(sure, least), **top}
            found.append({"text": surface, "top": [[t, p] for t, p in top.items()]})
            begin, first = end, place + 1
        return found

    def _alternatives(
        self, before: list[int], ids: list[int], values: list[float]
    ) -> dict[str, float]:
        """Return the texts of the likeliest tokens behind others, with their log-probabilities."""
        vocabulary: Any = self.teacher.vocabulary
        written, top = vocabulary.decode(before), {}
        for i, value in zip(ids, values, strict=True):
            said = vocabulary.decode([*before, i])
            # What ends the text, or is a part of a character, is no text of its own.
            if i != vocabulary.eos_id and said.startswith(written) and said != written:
                top.setdefault(said[len(written) :], _down(value))
            if len(top) == self.args.top:
                break
        return top


def _texts(problem: Problem, chain: Chain) -> tuple[str, str]:
    """Return what a student of the chain's style reads and writes."""
    from t5distill import formats

    style = formats.style(chain.style)
    return style.inputs(problem), style.targets(problem, chain)


def _down(value: float) -> float:
    return math.floor(value * 1e5) / 1e5
