"""Attacks on the sandbox, each of them proved live outside of it."""

import json
import pathlib

import pytest
from canaries import LIMIT_MB, Arena, control, peak_mb

from t5distill.verify import Limits, Sandbox, judge

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "attacks.jsonl"
ATTACKS = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
FULL = "namespaces+seccomp"
# Whatever hangs, hangs for ever; what fills the memory may take its time.
BRIEF = Limits(cpu_s=0.4, wall_s=2, memory_mb=LIMIT_MB)
PATIENT = Limits(cpu_s=10, memory_mb=LIMIT_MB)
NEED_ABSENT_MODULES = ("read-fileinput", "logging-handler")
# What a program may come to when the machine denies what it wanted.
STOPPED = {
    "file": {"rejected", "error", "value"},
    "environment": {"rejected", "error", "value"},
    "network": {"rejected", "error"},
    "process": {"rejected", "error"},
    "signal": {"rejected", "error"},
    "memory": {"memory", "error", "rejected", "timeout"},  # one that goes on trying
    "time": {"timeout", "error", "rejected", "none"},
    "forging": {"value", "error", "rejected"},
}


@pytest.fixture
def arena(tmp_path, monkeypatch):
    (tmp_path / "arena").mkdir()
    made = Arena(tmp_path / "arena")
    monkeypatch.setenv("CANARY_SECRET", made.secret)
    yield made
    made.close()


def test_there_are_enough():
    assert len(ATTACKS) >= 100
    assert {a["family"] for a in ATTACKS} == set(STOPPED)
    assert sum(a["family"] == "forging" for a in ATTACKS) >= 10


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a['family']}-{a['name']}")
def test_attack(attack, arena, record_property):
    """In the sandbox nothing is touched; afterwards, outside, something is."""
    family = attack["family"]
    source = arena.source(attack["source"])
    with Sandbox(BRIEF if family == "time" else PATIENT) as sandbox:
        outcome = sandbox.run({"kind": "program", "source": source})
        after = sandbox.run({"kind": "program", "source": "ans = 6 * 7"})
    record_property("isolation", outcome.isolation)
    assert outcome.isolation == FULL, outcome
    assert outcome.status in STOPPED[family], outcome
    assert outcome.detail or outcome.status == "value"
    if attack["name"] not in NEED_ABSENT_MODULES:
        assert "ModuleNotFoundError" not in outcome.detail, "the attack did not begin"
    assert arena.touched(f"{outcome.value} {outcome.detail}") == []
    assert (after.status, after.value) == ("value", "42"), outcome
    if family == "forging":
        assert judge(outcome.value or "", arena.gold, "numeric").outcome != "correct"
    if family == "memory":
        assert peak_mb(source) > LIMIT_MB
    else:
        assert control(arena, attack) != [], "the attack does nothing outside either"
