"""Coin flip and last letters."""

import pytest

from t5distill.errors import UserError
from t5distill.problems import coin_flip, last_letter, words


@pytest.mark.parametrize("length", [2, 3, 4])
def test_coin_flip_answers_follow_from_the_question(length):
    problems = coin_flip.generate(count=200, length=length, seed=0, split="test")
    for problem in problems:
        sentences = problem.question.split(". ")
        flips = sum(s.endswith("flips the coin") for s in sentences)
        kept = sum(s.endswith("does not flip the coin") for s in sentences)
        assert flips + kept == length
        assert problem.answer == ("yes" if flips % 2 == 0 else "no")
        side = problem.solution.split(": ")[-2].split(".")[0]
        assert side == ("heads up" if problem.answer == "yes" else "tails up")
        # The chain states its answer, so that curation can check it.
        assert problem.solution.endswith(f" Still heads up: {problem.answer}.")
        assert problem.kind == "yes_no"
    assert len({p.question for p in problems}) == 200
    assert sum(p.answer == "yes" for p in problems) == 100


@pytest.mark.parametrize("length", [2, 3, 4])
def test_last_letters_follow_from_the_question(length):
    for problem in last_letter.generate(count=200, length=length, seed=0, split="test"):
        name = problem.question.split('"')[1]
        assert len(name.split()) == length
        assert problem.answer == "".join(word[-1] for word in name.split())
        assert problem.solution.endswith(f'"{problem.answer}".')
        assert problem.kind == "string"


@pytest.mark.parametrize("module", [coin_flip, last_letter])
def test_names_determinism_and_exclusion(module):
    first = module.generate(count=50, length=2, seed=1, split="train")
    assert first == module.generate(count=50, length=2, seed=1, split="train")
    assert first != module.generate(count=50, length=2, seed=2, split="train")
    taken = {p.question for p in first}
    others = module.generate(count=50, length=2, seed=1, split="train", exclude=taken)
    assert not taken & {p.question for p in others}
    name = module.__name__.rsplit(".", 1)[1]
    assert first[3].id == f"{name}-train-00003"
    longer = module.generate(count=1, length=4, seed=1, split="test")
    assert longer[0].benchmark == f"{name}_4"


def test_running_out_of_problems_is_an_error_of_the_user(monkeypatch):
    monkeypatch.setattr(words, "load", lambda kind: ("Ada", "Ben"))
    with pytest.raises(UserError, match="ask for fewer"):
        coin_flip.generate(count=100, length=2, seed=0, split="train")
    with pytest.raises(UserError, match="ask for fewer"):
        last_letter.generate(count=100, length=2, seed=0, split="train")


@pytest.mark.parametrize("kind", ["first", "last", "short", "things", "fruits", "snacks"])
def test_word_lists_hold_distinct_plain_words(kind):
    listed = words.load(kind)
    assert len(set(listed)) == len(listed) >= 6
    assert all(word.isascii() and word.isalpha() for word in listed)
