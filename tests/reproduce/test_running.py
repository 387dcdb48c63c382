"""Stages are commands in this process, and do not fill it."""

import os

import jax
import pytest

import t5distill.__main__
from t5distill.reproduce import running


@pytest.mark.parametrize(("most", "kept"), [(0.0, 0), (1.0, 1)])
def test_what_stages_compiled_is_let_go_of_where_it_is_much(monkeypatch, capsys, most, kept):
    """A process may hold 65,530 mappings of memory; every program has several."""
    monkeypatch.setattr(running, "MOST_MAPPED", most)
    double = jax.jit(lambda x: 2 * x)

    def stage(argv):
        assert double(len(argv)) == 2 and double._cache_size() == 1
        return 0

    monkeypatch.setattr(t5distill.__main__, "main", stage)
    assert running.run("train") == 0
    assert double._cache_size() == kept and "$ t5distill train" in capsys.readouterr().out


def test_a_variable_is_set_for_a_block_alone(monkeypatch, capsys):
    monkeypatch.setenv("T5DISTILL_A", "before")
    monkeypatch.delenv("T5DISTILL_B", raising=False)
    with (
        pytest.raises(ValueError, match="inside"),
        running.exported("T5DISTILL_A", "in a block"),
        running.exported("T5DISTILL_B", 2),
    ):
        assert (os.environ["T5DISTILL_A"], os.environ["T5DISTILL_B"]) == ("in a block", "2")
        raise ValueError("inside")
    assert os.environ["T5DISTILL_A"] == "before" and "T5DISTILL_B" not in os.environ
    assert "$ export T5DISTILL_A='in a block'" in capsys.readouterr().out
