"""A chain's tokens with what the teacher might have written instead: read, and checked."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any, NamedTuple

from t5distill.records import Chain

# Marks of an end or of a turn, and bytes that are a part of a character.
_NO_TEXT = re.compile(
    r"<\|.*\|>|<｜.*｜>|</?s>|<pad>|<eos>|<end_of_turn>|bytes:\\x.*|.*\N{REPLACEMENT CHARACTER}.*",
    re.DOTALL,
)
# Servers round; a sum may be above 1 by as much.
_ROUNDING = 1e-3
_ASK = "ask the teacher for them: generate --top-logprobs K"


class Steps(NamedTuple):
    """The teacher's tokens that lie in a chain's text.

    Attributes:
      body: the chain's text without spaces around it.
      texts: as the teacher wrote them; joined they hold `body`.
      bounds: where in `body` each begins, and behind them where the last one ends: one more than
        there are tokens. White space at either end of the chain is cut off.
      tops: of each token pairs of a text and its log-probability.
    """

    body: str
    texts: list[str]
    bounds: list[int]
    tops: list[Any]


def agreement(one: str, other: str) -> int:
    """Return how many characters two texts have in common from their beginnings on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def is_text(text: str) -> bool:
    """Return whether an alternative is something that a student could write."""
    return not _NO_TEXT.fullmatch(text)


def read(chain: Chain) -> Steps:
    """Return the tokens of a chain.

    Raises:
      ValueError: it has none, or they are not the tokens of its text.
    """
    tokens = chain.meta.get("tokens")
    if not tokens:
        raise ValueError(f"no log-probabilities; {_ASK}")
    try:
        texts = [token["text"] for token in tokens]
        tops = [token["top"] for token in tokens]
        whole = "".join(texts)
    except (KeyError, TypeError) as e:
        raise ValueError(
            f"tokens of another form ({type(e).__name__}: {e}); wanted a list of "
            '{"text": ..., "top": [[text, logprob], ...]}'
        ) from e
    body = chain.text.strip()
    written = whole.lstrip()
    if not written.startswith(body):
        at = agreement(written, body)
        raise ValueError(
            f"log-probabilities do not rebuild the chain: its character {at} begins "
            f"{body[at : at + 20]!r}, the tokens' text there {written[at : at + 20]!r}"
        )
    rest = written[len(body) :]
    last = next((text for text in reversed(texts) if text), "")
    if rest.strip() and len(rest) >= len(last) and "cut" not in chain.meta:
        raise ValueError(
            f"log-probabilities do not rebuild the chain: behind it their tokens have "
            f"{rest[:20]!r}, wanted nothing"
        )
    return _inside(texts, tops, body, len(whole) - len(written), bool(rest.strip()))


def _inside(texts: list[str], tops: list[Any], body: str, lead: int, cut_off: bool) -> Steps:
    """Return the tokens that lie in the chain; `lead` characters stand before it.

    A last token that goes on with white space ends with the chain; one that goes on with more
    (`cut_off`) keeps its length, so that it ends nowhere in the chain.
    """
    ends = [end - lead for end in itertools.accumulate(map(len, texts))]
    first, last = 0, len(texts)
    # A token without a length belongs to the one behind it.
    while first < last and ends[first] <= 0 and texts[first] and lead:
        first += 1
    while last > first and ends[last - 1] - len(texts[last - 1]) >= len(body):
        last -= 1
    bounds = [max(ends[first] - len(texts[first]), 0), *ends[first:last]] if last > first else [0]
    if not cut_off:
        bounds[-1] = min(bounds[-1], len(body))
    return Steps(body, texts[first:last], bounds, tops[first:last])


def check(chain: Chain, k: int) -> None:
    """Check that a chain carries the probabilities of `k` alternatives for each of its tokens.

    Raises:
      ValueError: it does not; the message says which token is at fault, and why.
    """
    read(chain)
    for i, token in enumerate(chain.meta["tokens"]):
        try:
            _check_token(token["text"], token["top"], k)
        except ValueError as e:
            raise ValueError(f"token {i} ({str(token['text'])[:40]!r}): {e}") from e


def check_mass(mass: float) -> None:
    """Raise ValueError where probabilities sum to more than rounding explains."""
    if mass > 1 + _ROUNDING:
        raise ValueError(f"probabilities sum to {mass:.4f}, wanted at most 1")


def is_logprob(value: Any) -> bool:
    """Return whether a value is a finite log-probability, rounding allowed for."""
    # JSON's true is a number for Python. No comparison with NaN holds.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -math.inf < value <= 1e-6


def _check_token(text: Any, top: Any, k: int) -> None:
    """Raise ValueError with what is wrong with one token's alternatives."""
    if not isinstance(text, str) or not isinstance(top, list):
        raise ValueError(f"text and top are {text!r} and {top!r}, wanted a text and a list")
    if not top:
        raise ValueError(f"no alternatives, wanted {k}; {_ASK}")
    values: dict[str, float] = {}
    mass = 0.0
    for pair in top:
        other, logprob = _pair(pair)
        if other in values and is_text(other):
            if values[other] != logprob:
                raise ValueError(
                    f"{other!r} has two log-probabilities, {values[other]} and {logprob}; wanted "
                    "each text once"
                )
            continue
        values[other] = logprob
        mass += math.exp(logprob)
    check_mass(mass)
    _check_count(text, [(str(other), float(logprob)) for other, logprob in top], k)


def _pair(pair: Any) -> tuple[str, float]:
    """Return an alternative and its log-probability."""
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
        raise ValueError(f"{pair!r} is an alternative, wanted [text, logprob]")
    other, logprob = pair
    if isinstance(logprob, bool) or not isinstance(logprob, int | float):
        raise ValueError(f"{other!r} has log-probability {logprob!r}, wanted a number")
    if not is_logprob(logprob):
        raise ValueError(f"{other!r} has log-probability {logprob}, wanted one from -inf to 0")
    return other, logprob


def _check_count(text: str, pairs: list[tuple[str, float]], k: int) -> None:
    """Raise ValueError where there are not `k` alternatives.

    Equal texts count each: the tokenizer may have several tokens that look alike.
    """
    if len(pairs) == k:
        return
    own, others = pairs[0], pairs[1:]
    # The sampled token may come first once more than asked for: if it is among the likeliest it is
    # there twice, if not it is less likely than they are.
    once_more = len(others) == k and own[0] == text
    if once_more and (own in others or own[1] <= min(logprob for _, logprob in others)):
        return
    raise ValueError(f"{len(pairs)} alternatives, wanted {k}; {_ASK}")
