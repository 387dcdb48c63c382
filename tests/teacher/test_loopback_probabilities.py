"""Log-probabilities of the loopback teacher: those of what it writes, on both endpoints."""

import collections
import dataclasses
import json
import math

import pytest

from t5distill.records import STYLES
from t5distill.teacher.loopback import tokens
from t5distill.teacher.loopback.answers import Writer
from t5distill.teacher.loopback.probabilities import Probabilities
from t5distill.teacher.replies import parse

DRAWS = ("", "1 0", "1 1", "2 0", "2 1")


def rows_of(probabilities, problem, style, draw="", *, k=20):
    """Return an answer's tokens and their rows."""
    made = tokens.pieces(probabilities.writer.text(problem, style, draw))
    return made, probabilities.rows(made, k, problem=problem, style=style)


def listed(row):
    return {token: math.exp(logprob) for token, logprob in row}


def check_row(token, row, k):
    """Check that a row is a distribution's k likeliest tokens, with the sampled one first."""
    assert row[0][0] == token
    assert len(listed(row)) == len(row)
    assert sum(listed(row).values()) < 1.0
    assert max(p for _, p in row) < 0.0
    others = [p for _, p in row[1:]]
    assert others == sorted(others, reverse=True)
    # One more than k only where the token is none of the k likeliest.
    assert len(row) == k or (len(row) == k + 1 and row[0][1] <= others[-1])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("rates", [{}, {"wrong_rate": 1.0}, {"malformed_rate": 1.0}])
def test_every_token_of_every_answer_gets_a_distribution(problems, style, rates):
    probabilities = Probabilities(Writer(seed=3, **rates))
    for problem in problems[::20]:
        text = probabilities.writer.text(problem, style, "1 0")
        for k in (1, 2, 20):
            made, rows = rows_of(probabilities, problem, style, "1 0", k=k)
            assert "".join(made) == text
            assert tokens.count(text) == len(made)
            for token, row in zip(made, rows, strict=True):
                check_row(token, row, k)
            if k == 2:
                few = rows
        # What else is listed changes nothing of what is listed.
        assert [listed(row) for row in few] == [
            {token: p for token, p in listed(row).items() if token in short}
            for row, short in zip(rows, map(listed, few), strict=True)
        ]
    assert all(len(row) == 1 for row in rows_of(probabilities, problems[0], style, k=0)[1])


@pytest.mark.parametrize("style", STYLES)
def test_a_text_is_as_likely_as_its_wording_less_the_noise(problems, style):
    probabilities = Probabilities(Writer())
    for problem in problems[::30]:
        wordings = dict(Writer().wordings(problem, style))
        for draw in DRAWS:
            made, rows = rows_of(probabilities, problem, style, draw, k=1)
            choice = math.log(wordings["".join(made)])
            noise = choice - sum(row[0][1] for row in rows)
            assert -len(made) * math.log(0.995) <= noise <= -len(made) * math.log(0.95)
            # Each choice of a wording is made within one token or two, the rest is certain.
            sure = [row[0][1] >= math.log(0.95) for row in rows]
            assert len(sure) - sum(sure) <= 2 - 2 * choice


def test_the_first_token_comes_as_often_as_listed(problems):
    probabilities, n = Probabilities(Writer()), 3000
    texts = [Writer().text(problems[0], "cot", f"9 {i}") for i in range(n)]
    seen = collections.Counter(tokens.pieces(text)[0] for text in texts)
    assert len(seen) == 3
    first = listed(rows_of(probabilities, problems[0], "cot")[1][0])
    whole = sum(first[token] for token in seen)
    assert 0.95 <= whole <= 0.995
    expected = {token: n * first[token] / whole for token in seen}
    chi_square = sum((seen[t] - e) ** 2 / e for t, e in expected.items())
    assert chi_square < 13.8, (seen, expected)  # p = 0.001 with two degrees of freedom


def test_the_first_result_is_wrong_as_often_as_listed(problems):
    writer, n = Writer(wrong_rate=0.6), 2000
    probabilities = Probabilities(writer)
    for problem in problems[:3]:
        right = str(problem.meta["steps"][0]["value"])
        made, rows = rows_of(Probabilities(Writer()), problem, "cot")
        at = made.index(" =") + 1
        assert made[at] == f" {right}"
        assert rows[at][0][1] >= math.log(0.95)
        texts = [writer.text(problem, "cot", str(i)) for i in range(n)]
        wrong = sum(text.partition("= ")[2].split(" ")[0] != right for text in texts)
        row = probabilities.rows(made, 20, problem=problem, style="cot")[at]
        slack = 4 * math.sqrt(n * 0.25) + 0.05 * n
        assert abs(wrong - n * (1 - listed(row)[f" {right}"])) < slack
        assert all(token.strip().isdecimal() for token, _ in row)


def test_greedy_and_sampled_answers_have_one_distribution_after_one_prefix(problems):
    writer = Writer(wrong_rate=0.3)
    shared = 0
    for style in STYLES:
        found = {}
        for draw in DRAWS:
            # A fresh one each time: what was asked before does not matter.
            made, rows = rows_of(Probabilities(writer), problems[0], style, draw)
            for i, row in enumerate(rows):
                likeliest = sorted(row, key=lambda r: (-r[1], r[0]))[:4]
                before = found.setdefault("".join(made[:i]), likeliest)
                assert likeliest == before
                shared += before is not likeliest
    assert shared > 100


def test_after_a_wrong_number_the_text_is_sure_of_itself(problems):
    writer = Writer(wrong_rate=1.0)
    rare = 0
    for problem in problems[:40]:
        made, rows = rows_of(Probabilities(writer), problem, "cot", "2 0")
        prefixes = [tokens.pieces(text) for text, _ in writer.wordings(problem, "cot")]
        left = next(i for i in range(len(made)) if all(p[:i] != made[:i] for p in prefixes))
        assert made[left - 1].strip().isdecimal()
        assert rows[left - 1][0][1] < math.log(0.2)
        assert min(row[0][1] for row in rows[left:]) >= math.log(0.95)
        rare += len(rows[left - 1]) == 21
    assert rare > 0


def test_what_has_no_wordings_gets_probabilities_too(problems):
    probabilities = Probabilities(Writer())
    made, rows = rows_of(probabilities, None, "cot", k=5)
    long = dataclasses.replace(
        problems[0], id="long", meta={**problems[0].meta, "steps": problems[0].meta["steps"] * 20}
    )
    assert Writer().wordings(long, "socratic") == []
    more, further = rows_of(probabilities, long, "socratic", "1 0", k=5)
    for token, row in zip(made + more, rows + further, strict=True):
        check_row(token, row, 5)
        assert row[0][1] >= math.log(0.95)
    huge = ["What", "9" * 5000, "٣", " "]
    for token, row in zip(
        huge, probabilities.rows(huge, 20, problem=None, style="cot"), strict=True
    ):
        check_row(token, row, 20)


def test_forgotten_wordings_come_out_the_same_again(problems):
    few, many = Probabilities(Writer(), remembered=2), Probabilities(Writer())
    for problem in (*problems[:5], *problems[:5]):
        assert rows_of(few, problem, "socratic") == rows_of(many, problem, "socratic")
    assert len(few.known) == 2


@pytest.mark.parametrize("chat", [True, False])
def test_both_endpoints_list_the_likeliest_and_the_token_itself(serve, connect, problems, chat):
    settings = {"seed": 1, "wrong_rate": 0.7, "malformed_rate": 0.2}
    client, rare = connect(serve(**settings)), 0
    prompts = [f"Q: {p.question}\nA:" for p in problems[:15]]
    many = {"model": "loopback", "seed": 2, "n": 4, "max_tokens": 300}
    replies = []
    for prompt in prompts if chat else [prompts]:
        if chat:
            how = {"messages": [{"role": "user", "content": prompt}]}
            how |= {"logprobs": True, "top_logprobs": 2}
        else:
            how = {"prompt": prompt, "logprobs": 2}
        path = "/v1/chat/completions" if chat else "/v1/completions"
        status, body = client.json("POST", path, many | how)
        assert status == 200
        replies += body["choices"]
        answers = parse([f"k{i}" for i in range(len(body["choices"]))], json.dumps(body).encode())
        for answer in answers.answers:
            assert "".join(token["text"] for token in answer.tokens) == answer.text
            assert {len(token["top"]) for token in answer.tokens} <= {2, 3}
    for choice in replies:
        for token, logprob, top in listing(choice, chat):
            assert logprob < 0.0
            assert sum(math.exp(p) for p in top.values()) < 1.0
            likeliest = sorted((p for t, p in top.items()), reverse=True)[:2]
            if chat:
                assert list(top.values()) == likeliest
            if token in top:
                assert top[token] == logprob
            if logprob < likeliest[1]:
                rare += 1
                # OpenAI's chats leave such a token out of the list, completions add it.
                assert len(top) == (2 if chat else 3)
                assert chat or next(iter(top)) == token
            else:
                assert len(top) == 2
    assert rare > 10
    # Alone or among others, in whatever order: the same.
    alone = {"prompt": prompts[7], "logprobs": 2}
    if chat:
        alone = {"messages": [{"role": "user", "content": prompts[7]}]}
        alone |= {"logprobs": True, "top_logprobs": 2}
    _, body = connect(serve(**settings)).json("POST", path, many | alone)
    for choice, before in zip(body["choices"], replies[28:32], strict=True):
        assert choice["logprobs"] == before["logprobs"]


def listing(choice, chat):
    """Yield token, its log-probability and what is listed at each position."""
    found = choice["logprobs"]
    if chat:
        for row in found["content"]:
            top = {t["token"]: t["logprob"] for t in row["top_logprobs"]}
            yield row["token"], row["logprob"], top
    else:
        yield from zip(found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True)
