import json
from typing import Any

import pytest

from t5distill.curate import alignment
from t5distill.problems import embedded
from t5distill.records import Chain
from t5distill.teacher import replies
from t5distill.teacher.ledger import Cost, Item, Ledger
from t5distill.teacher.loopback import protocol
from t5distill.teacher.loopback import tokens as loopback
from t5distill.teacher.loopback.answers import Writer
from t5distill.teacher.loopback.probabilities import Probabilities


def body(*texts, **usage):
    choices = [{"index": i, "message": {"content": t}} for i, t in enumerate(texts)]
    return json.dumps({"choices": choices, "usage": usage}).encode()


def test_half_a_surrogate_pair_is_stored_as_a_sign_that_can_be(tmp_path):
    [answer] = replies.parse(["k"], body("5 \ud83d plums")).answers
    assert answer.text == "5 ? plums"
    item = Item("k", "p", "toy", "cot", "t", 0, None)
    with Ledger(tmp_path / "l.db", rescue_bytes=2**16) as ledger:
        assert ledger.import_answers([(item, answer)]).result() == 1
        number = ledger.intend(["k"], Cost()).result()
        ledger.receive(number, 200, body("5 \ud83d plums")).result()


def test_no_text_is_an_empty_answer():
    assert replies.parse(["k"], body(None)).answers[0].text == ""


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"{}", b'{"choices": []}', b'{"choices": 5}'])
def test_what_holds_no_answer(raw):
    with pytest.raises(replies.MalformedReplyError):
        replies.parse(["k"], raw)


def chat(*tokens):
    return {"content": [token_of(*token) for token in tokens]}


def token_of(text, logprob, top=(), data=None):
    data = text.encode() if data is None else data
    found = {"token": text, "logprob": logprob, "bytes": list(data)}
    return {**found, "top_logprobs": [token_of(*other) for other in top]} if top else found


def tokens_of(logprobs, text="x") -> Any:
    choice = {"index": 0, "message": {"content": text}, "logprobs": logprobs}
    raw = json.dumps({"choices": [choice]}).encode()
    return replies.parse(["k"], raw).answers[0].tokens


def test_a_sampled_token_outside_of_the_alternatives_comes_first():
    top = [("a", -0.1), ("b", -3.0)]
    found = tokens_of(chat(("c", -5.0, top), ("b", -3.0, top)))
    assert found == [
        {"text": "c", "top": [["c", -5.0], ["a", -0.1], ["b", -3.0]]},
        {"text": "b", "top": [["a", -0.1], ["b", -3.0]]},
    ]
    completion = {
        "tokens": ["c", "b", "d"],
        "token_logprobs": [-5.0, -3.0, None],
        "top_logprobs": [dict(top), dict(top), None],
    }
    assert tokens_of(completion) == [*found, {"text": "d", "top": []}]
    assert tokens_of({**completion, "top_logprobs": None, "token_logprobs": None}) == [
        {"text": text, "top": []} for text in "cbd"
    ]


def test_parts_of_characters_in_a_chat():
    sign = "\N{CHECK MARK}".encode()
    lost, opens = "\N{REPLACEMENT CHARACTER}", b" " + sign[:1]
    found = tokens_of(
        chat(
            (f" {lost}", -0.5, [(f" {lost}", -0.5, (), opens), (" ", -1.0)], opens),
            (lost, -0.2, [(lost, -3.0, (), b"\x80"), (lost, -0.2, (), sign[1:2])], sign[1:2]),
            (lost, -0.1, [("x", -4.0)], sign[2:]),
            ("!", -0.3, [("!", -0.3)]),
        )
    )
    assert "".join(token["text"] for token in found) == " \N{CHECK MARK}!"
    assert found == [
        {"text": " ", "top": [[" ", -0.5], [" ", -1.0]]},
        {"text": "", "top": [[lost, -3.0], ["", -0.2]]},
        {"text": "\N{CHECK MARK}", "top": [["\N{CHECK MARK}", -0.1], ["x", -4.0]]},
        {"text": "!", "top": [["!", -0.3]]},
    ]


def test_parts_of_characters_in_a_completion():
    found = tokens_of(
        {
            "tokens": ["ab", "bytes:\\xe2\\x9c", "bytes:\\x93", "c"],
            "token_logprobs": [-1.0, -2.0, -3.0, -4.0],
            "top_logprobs": [{"ab": -1.0}, {"bytes:\\xe2\\x9c": -2.0, "d": -2.5}, {"e": -0.1}, {}],
        }
    )
    assert found == [
        {"text": "ab", "top": [["ab", -1.0]]},
        {"text": "", "top": [["", -2.0], ["d", -2.5]]},
        {"text": "\N{CHECK MARK}", "top": [["\N{CHECK MARK}", -3.0], ["e", -0.1]]},
        {"text": "c", "top": [["c", -4.0]]},
    ]


def test_a_reply_that_ends_inside_of_a_character_and_halves_of_pairs():
    found = tokens_of(chat(("a", -1.0), ("\N{REPLACEMENT CHARACTER}", -1.0, (), b"\xe2\x9c")))
    assert [t["text"] for t in found] == ["a", "\N{REPLACEMENT CHARACTER}"]
    completion = {
        "tokens": ["\ud83d"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{"\ud83d": -1.0}],
    }
    assert tokens_of(completion, "\ud83d") == [{"text": "?", "top": [["?", -1.0]]}]


def test_tokens_of_other_kinds_are_kept_for_curate_to_refuse():
    assert tokens_of({"tokens": [5], "token_logprobs": [True], "top_logprobs": [{"a": "b"}]}) == [
        {"text": 5, "top": [[5, True], ["a", "b"]]}
    ]
    assert tokens_of({"tokens": []}) == [] and tokens_of({"tokens": 5}) is None


@pytest.mark.parametrize("prompt_is_chat", [True, False])
def test_the_loopback_teachers_replies_can_be_aligned(prompt_is_chat):
    problem = embedded.generate(count=1, seed=0, split="train")[0]
    text = Writer().text(problem, "cot") + " \N{CHECK MARK}"
    pieces = loopback.pieces(text)
    shown = protocol._chat_logprobs if prompt_is_chat else protocol._completion_logprobs
    for k in (5, 3):
        top = Probabilities(Writer()).rows(pieces, k, problem=problem, style="cot")
        choice = protocol.Choice(text=text, tokens=pieces, finish_reason="stop", top=top)
        tokens = tokens_of(json.loads(json.dumps(shown(choice, k))), text)
        chain = Chain(problem_id="p", style="cot", text=text, teacher="t", meta={"tokens": tokens})
        alignment.check(chain, k)
