"""Chains a second of the token alignment, and what it keeps: `python -m benchmarks.alignment`.

The chains are code-davinci-002's (`codex_logprobs` in $T5DISTILL_REAL_DATA, with T5's vocabulary)
and the loopback teacher's of embedded problems, of which no two are the same. In turns, in one
process on one core: alignment by offsets, by time warping, and a plain version of the method of
Fu et al. 2023, with both tables filled cell by cell in Python as their notebook fills them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from t5distill.curate import alignment
from t5distill.curate.alignment import steps
from t5distill.curate.alignment.continuations import Vocabulary
from t5distill.formats.train_vocabulary import train_sentencepiece
from t5distill.formats.vocabulary import ByteVocabulary, SentencePieceVocabulary
from t5distill.problems import embedded
from t5distill.records import Chain, write_json
from t5distill.teacher.loopback import tokens as loopback
from t5distill.teacher.loopback.answers import Writer
from t5distill.teacher.loopback.probabilities import Probabilities

K = 5


class Set(NamedTuple):
    """Chains with log-probabilities."""

    name: str
    chains: list[Chain]


def codex(folder: pathlib.Path) -> Set:
    """Return code-davinci-002's chains, without what is left over from the prompt."""
    names = ("0_0", "1_0", "32_44")
    read = [json.loads((folder / f"codex_per_step_probs_{n}.json").read_text()) for n in names]
    read += json.loads((folder / "codex_per_step_probs_sample.json").read_text())
    chains = []
    for rows in read:
        tokens = [
            {
                "text": row[0][0],
                "top": [[t, math.log(p) if p > 0 else -math.inf] for t, p in row],
            }
            for row in rows[2:]
        ]
        chains.append(_chain("".join(token["text"] for token in tokens).strip(), tokens))
    return Set("code-davinci-002", chains)


def invented(count: int) -> Set:
    """Return the loopback teacher's chains of so many problems."""
    probabilities, chains = Probabilities(Writer(wrong_rate=0.2)), []
    for problem in embedded.generate(count=count, seed=0, split="train"):
        text = probabilities.writer.text(problem, "cot")
        pieces = loopback.pieces(text)
        tops = probabilities.rows(pieces, K, problem=problem, style="cot")
        tokens = [
            {"text": piece, "top": [list(pair) for pair in top]}
            for piece, top in zip(pieces, tops, strict=True)
        ]
        chains.append(_chain(text.strip(), tokens))
    return Set("loopback", chains)


def _chain(text: str, tokens: list[dict[str, Any]]) -> Chain:
    return Chain(problem_id="p", style="cot", text=text, teacher="t", meta={"tokens": tokens})


def edit_distance(one: str, other: str) -> int:
    """Return Levenshtein's distance, cell by cell."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one):
        above, row = row, [i + 1]
        for j, b in enumerate(other):
            row.append(min(above[j + 1] + 1, row[j] + 1, above[j] + (a != b)))
    return row[-1]


def plain(chain: Chain, vocabulary: Vocabulary) -> list[dict[str, float]]:
    """Return the paper's soft targets of a chain, cell by cell: pieces with probabilities."""
    read = steps.read(chain)
    pieces = [vocabulary.piece(i) for i in vocabulary.encode(read.body)]
    m, n = len(read.texts), len(pieces)
    total = [[math.inf] * (n + 1) for _ in range(m + 1)]
    total[0][0] = 0
    for i, text in enumerate(read.texts):
        word = text.replace(" ", "")
        for j, piece in enumerate(pieces):
            cost = edit_distance(word, piece.replace("▁", ""))
            total[i + 1][j + 1] = cost + min(total[i][j + 1], total[i + 1][j], total[i][j])
    mapped: list[list[int]] = [[] for _ in pieces]
    i, j = m, n
    while i > 1 or j > 1:
        mapped[j - 1].append(i - 1)
        ways = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(ways, key=lambda way: total[way[0]][way[1]] if min(way) else math.inf)
    mapped[0].append(0)
    found = []
    for piece, rows in zip(pieces, mapped, strict=True):
        row: dict[str, float] = {}
        if len(rows) == 1 and read.texts[rows[0]].replace(" ", "▁") == piece:
            for text, logprob in read.tops[rows[0]]:
                text = text.replace(" ", "▁")
                if vocabulary.id_of(text) is not None:
                    row.setdefault(text, math.exp(logprob))
        found.append(row or {piece: 1.0})
    return found


def rate(run: Callable[[], object], count: int) -> float:
    """Return chains a second of one run over `count` chains."""
    begin = time.perf_counter()
    run()
    return count / (time.perf_counter() - begin)


def measure(chains: Sequence[Chain], vocabulary: Vocabulary, rounds: int) -> dict[str, Any]:
    """Return chains a second of each contender in turns, and ratios to the plain version."""
    texts = [chain.text for chain in chains]
    # One pass over few chains is too short to be timed.
    times = max(1, 1000 // len(chains))

    def many(method: str) -> Callable[[], object]:
        return lambda: alignment.align_many(
            texts * times, [*chains] * times, vocabulary, method=method, k=K
        )

    def alone() -> None:
        for text, chain in zip(texts, chains, strict=True):
            alignment.align(text, chain, vocabulary, k=K)

    contenders: dict[str, tuple[Callable[[], object], int]] = {
        "offsets": (many("offsets"), times * len(chains)),
        "offsets, one at a time": (alone, len(chains)),
        "dtw": (many("dtw"), times * len(chains)),
        "plain dtw": (lambda: [plain(chain, vocabulary) for chain in chains], len(chains)),
    }
    first = {name: rate(many(name), times * len(chains)) for name in alignment.METHODS}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (run, count) in contenders.items():
            rates[name].append(rate(run, count))
    ratios = {
        name: [a / b for a, b in zip(found, rates["plain dtw"], strict=True)]
        for name, found in rates.items()
    }
    return {"chains_per_second": rates, "ratios": ratios, "first_pass": first}


def kept(chains: Sequence[Chain], vocabulary: Vocabulary, method: str) -> dict[str, Any]:
    """Return the share of tokens by case, and how much probability their targets list."""
    found = alignment.align_many(
        [chain.text for chain in chains], chains, vocabulary, method=method, k=K
    )
    cases = np.bincount(np.concatenate([one.cases for one in found]), minlength=5)
    mass = np.concatenate([one.probabilities.sum(axis=1) for one in found])
    soft = mass[np.concatenate([one.cases for one in found]) > 0]
    return {
        "tokens": int(cases.sum()),
        "cases": dict(zip(alignment.CASES, (cases / cases.sum()).tolist(), strict=True)),
        "soft": float(len(soft) / cases.sum()),
        "mass": float(soft.mean()) if len(soft) else 0.0,
        "least": float(soft.min()) if len(soft) else 0.0,
    }


def speed_table(name: str, result: dict[str, Any], chains: Sequence[Chain]) -> str:
    """Return the chains a second of a set as text."""
    tokens = statistics.mean(len(chain.meta["tokens"]) for chain in chains)
    lines = [
        f"{name}: {len(chains)} chains of {tokens:.0f} tokens; chains/s, median of "
        f"{len(result['chains_per_second']['dtw'])} rounds (min-max), times plain dtw"
    ]
    for contender, rates in result["chains_per_second"].items():
        ratios = result["ratios"][contender]
        lines.append(
            f"  {contender:24}{statistics.median(rates):8.0f}  ({min(rates):.0f}-{max(rates):.0f})"
            f"   {statistics.median(ratios):6.1f}  ({min(ratios):.1f}-{max(ratios):.1f})"
        )
    first = ", ".join(f"{method} {found:.0f}" for method, found in result["first_pass"].items())
    return "\n".join([*lines, f"  first pass, with nothing remembered yet: {first}"])


def kept_table(rows: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """Return shares and masses as text.

    What a loss makes of the mass that is missing is its rule: `drop` leaves it out, `renormalise`
    scales what is listed to 1, `tail` makes it one more outcome.
    """
    names = "".join(f"{name:>14}" for name in alignment.CASES)
    lines = [f"{'':42}{'tokens':>7}{names}{'drop':>9}{'renorm.':>9}{'tail':>15}{'least':>8}"]
    for (of, vocab, method), row in rows.items():
        shares = "".join(f"{100 * share:>12.1f} %" for share in row["cases"].values())
        mass = row["mass"]
        lines.append(
            f"{of + ', ' + vocab + ', ' + method:42}{row['tokens']:>7}{shares}{mass:>9.4f}"
            f"{1 if mass else 0:>9.4f}{mass:>8.4f}+{1 - mass:.4f}{row['least']:>8.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--problems", type=int, default=200, help="of the loopback teacher's set")
    parser.add_argument("--out", help="write the figures here as JSON")
    args = parser.parse_args()
    sets = [invented(args.problems)]
    real = os.environ.get("T5DISTILL_REAL_DATA")
    with tempfile.TemporaryDirectory(prefix="t5distill.") as folder:
        if real:
            sets.insert(0, codex(pathlib.Path(real) / "codex_logprobs"))
            model = pathlib.Path(real) / "t5_vocab" / "spiece.model"
        else:
            model = train_sentencepiece(
                (chain.text for chain in sets[0].chains),
                pathlib.Path(folder) / "s.model",
                vocab_size=1000,
                split_digits=False,
            )
        t5 = SentencePieceVocabulary(model)
        report: dict[str, Any] = {"speed": {}, "kept": {}}
        rows = {}
        for name, chains in sets:
            report["speed"][name] = measure(chains, t5, args.rounds)
            print(speed_table(name, report["speed"][name], chains), flush=True)
            for vocab, vocabulary in (("t5", t5), ("byt5", ByteVocabulary())):
                for method in alignment.METHODS if vocab == "t5" else ("offsets",):
                    rows[name, vocab, method] = kept(chains, vocabulary, method)
    print(kept_table(rows))
    report["kept"] = {", ".join(key): row for key, row in rows.items()}
    if args.out:
        write_json(args.out, report)


if __name__ == "__main__":
    main()
