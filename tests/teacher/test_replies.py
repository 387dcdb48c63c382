import json

import pytest

from t5distill.teacher import replies
from t5distill.teacher.ledger import Cost, Item, Ledger


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
