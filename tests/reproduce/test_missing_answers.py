"""A teacher that never answers some of what it is asked."""

import pytest

from t5distill.errors import UserError
from t5distill.problems import embedded
from t5distill.records import write_jsonl
from t5distill.reproduce.chains import Asked, generate
from t5distill.reproduce.options import Options
from t5distill.teacher import accounts
from t5distill.teacher.loopback import Faults, LoopbackTeacher

PROBLEMS = 40


@pytest.fixture
def asked(tmp_path):
    """Ask a real server that fails every third request, each of them once."""
    problems = embedded.generate(count=PROBLEMS, seed=3, split="train")
    (tmp_path / "data/embedded").mkdir(parents=True)
    write_jsonl(tmp_path / "data/embedded/train.jsonl", problems)
    with LoopbackTeacher(problems, faults=Faults(server_error=0.3), seed=1) as teacher:
        spec, once = f"loopback@{teacher.url}", (("max-attempts", 1),)
        yield Asked("embedded", spec, "failing", "cot", once)


def options(tmp_path, missing):
    return Options(tmp_path, False, (), (0,), {}, {}, missing, (), False)


def answered(tmp_path):
    [row] = accounts.overview(tmp_path / "ledger.db")["sets"]
    assert row[:4] == ("embedded", "cot", "failing", PROBLEMS)
    return row[4]


def test_they_are_asked_for_again_or_done_without(asked, tmp_path, capsys):
    with pytest.raises(UserError, match=f"of {PROBLEMS} samples of failing have no answer"):
        generate(asked, 1, options(tmp_path, 0.0))
    first = answered(tmp_path)
    assert 0 < first < PROBLEMS
    capsys.readouterr()
    generate(asked, 1, options(tmp_path, 1 - first / PROBLEMS))
    missing = PROBLEMS - answered(tmp_path)
    assert first < PROBLEMS - missing < PROBLEMS
    assert f"{missing} of {PROBLEMS} samples" in capsys.readouterr().out


def test_a_spent_budget_is_no_such_thing(asked, tmp_path):
    spent = asked._replace(options=(*asked.options, ("budget", "1500tokens")))
    with pytest.raises(UserError, match="the same command goes on"):
        generate(spent, 1, options(tmp_path, 0.99))
