"""Chains that take two calls: the rationale first, then the answer that it leads to.

Zero-shot chain of thought (Kojima et al. 2022, section 3), with which Ho et al. 2022 made their
teacher's chains. The replies of both calls lie in the ledger under keys of their own, so either is
paid for once; the second call's key depends on the rationale that it goes on from. A chain is
whole when both are there: its text is the rationale, the lead of the answer, and the answer.

A rationale that `max_tokens` cut off is asked for its answer all the same, as the papers do: often
its last step stands there already. The chain then keeps `length` as its finish reason, by which
the judge credits it only with an answer that is said in full. A rationale without any text (a
refusal) is not asked further; the chain is empty, and curate rejects it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from typing import NamedTuple

from t5distill.teacher import prompts
from t5distill.teacher.asking import Asked, Sampling, cache_key
from t5distill.teacher.ledger import Answer, Item

# A reply that says by itself which answer it is.
_SENTENCE = re.compile(r"\banswer\b[^.\n]*\bis\b", re.IGNORECASE)


class Pending(NamedTuple):
    """What is to be done for items that have no answer.

    Attributes:
      first: the calls for rationales; their items have the call's key in place of the chain's.
      second: the calls for answers, likewise.
      chains: for the key of each of these calls, that of its chain.
      whole: chains of which both calls have been answered.
    """

    first: list[Asked]
    second: list[Asked]
    chains: dict[str, str]
    whole: list[tuple[Item, Answer]]


def pending(
    asked: Iterable[Asked],
    sampling: Sampling,
    answering: Sampling,
    *,
    missing: Container[str],
    answers: Callable[[Iterable[str]], Mapping[str, Answer]],
) -> Pending:
    """Tell how far the chains of `missing` have come.

    Args:
      asked: the prompts with their items and leads.
      sampling: of the rationale.
      answering: of the answer.
      missing: keys of the chains that are not there.
      answers: looks up answers by their key.
    """
    wanted = [(a, [item for item in a.items if item.key in missing]) for a in asked]
    firsts = {
        item.key: cache_key(a.rendered, sampling, item.sample)
        for a, items in wanted
        for item in items
    }
    rationales = answers(firsts.values())
    found = Pending([], [], {}, [])
    seconds: list[tuple[Asked, Item, Answer]] = []
    for a, items in wanted:
        open_ = []
        for item in items:
            key = firsts[item.key]
            if key not in rationales:
                open_.append(item._replace(key=key))
                found.chains[key] = item.key
            elif not rationales[key].text.strip():
                found.whole.append((item, rationales[key]._replace(key=item.key)))
            else:
                seconds.append((a, item, rationales[key]))
        if open_:
            found.first.append(Asked(a.rendered, open_))
    _second(seconds, answering, answers, found)
    return found


def _second(
    seconds: list[tuple[Asked, Item, Answer]],
    answering: Sampling,
    answers: Callable[[Iterable[str]], Mapping[str, Answer]],
    found: Pending,
) -> None:
    """Add the second calls of chains whose rationale is there, and the chains that have both."""
    calls = []
    for a, item, rationale in seconds:
        rendered = prompts.render_answer(a.rendered, rationale.text, a.lead)
        calls.append((rendered, cache_key(rendered, answering, item.sample)))
    known = answers(key for _, key in calls)
    for (a, item, rationale), (rendered, key) in zip(seconds, calls, strict=True):
        if key in known:
            found.whole.append((item, join(item.key, rationale, a.lead, known[key])))
        else:
            found.second.append(Asked(rendered, [item._replace(key=key)]))
            found.chains[key] = item.key


def join(key: str, rationale: Answer, lead: str, answer: Answer) -> Answer:
    """Return a chain as the answer to one key.

    Args:
      key: of the chain.
      rationale: the reply of the first call.
      lead: the words that the second call led the answer in with.
      answer: the reply of the second call.
    """
    if _SENTENCE.search(answer.text):
        lead = lead[: len(lead) - len(lead.lstrip())]
    elif not answer.text[:1].isspace():
        lead += " "
    tokens = None
    if rationale.tokens is not None and answer.tokens is not None:
        # The lead is nobody's choice, so it has no alternatives.
        tokens = [*rationale.tokens, {"text": lead, "top": []}, *answer.tokens]
    cut = "length" in (rationale.finish_reason, answer.finish_reason)
    reason = "length" if cut else answer.finish_reason
    return Answer(key, rationale.text + lead + answer.text, reason, tokens)
