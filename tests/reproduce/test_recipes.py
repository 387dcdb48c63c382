"""Every recipe says a whole experiment, and its header's commands hold."""

import argparse
import pathlib
import sys

import pytest

from t5distill import formats
from t5distill.__main__ import main
from t5distill.errors import UserError
from t5distill.problems.benchmarks import GENERATED, OFFICIAL
from t5distill.reproduce import command
from t5distill.reproduce.chains import chain_set, chain_sets
from t5distill.reproduce.experiment import TINY_GOLD, is_generated
from t5distill.reproduce.students import students

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = sorted((ROOT / "gin/recipes").glob("*.gin"))
# Their task is one that docs and tests have made otherwise than `reproduce` does.
OWN_TASK = ("quickstart_", "embedded_", "gsm8k_gold", "gsm8k_white", "gsm8k_gkd")
sys.path.insert(0, str(ROOT / "scripts"))
import recipe_commands  # noqa: E402


def read(name, *, tiny=False, **options):
    given = {"gin_bindings": [], "teacher": None, "model": None, "tiny": tiny, **options}
    return command.read(name, argparse.Namespace(**given))


@pytest.fixture(params=RECIPES, ids=lambda path: path.stem)
def recipe(request):
    return request.param


def test_a_recipe_names_what_there_is(recipe):
    _, experiment = read(recipe.stem)
    known = {*OFFICIAL, *(f"{g}{tail}" for g in GENERATED for tail in ("", "_3", "_4"))}
    assert {experiment.benchmark, *experiment.test_benchmarks()} <= known
    models = {path.stem for path in (ROOT / "gin/models").glob("*.gin")}
    assert {experiment.model, *(arm.model or experiment.model for arm in experiment.arms)} <= models
    rows = [row for arm in experiment.arms for row, _, _ in arm.rows()]
    assert len(rows) == len(set(rows))
    assert experiment.question.endswith("?")
    assert (experiment.main and experiment.baseline) and experiment.main != experiment.baseline
    for row in experiment.published:
        assert 0 <= row["accuracy"] <= 1 and row["source"] and isinstance(row["verified"], bool)
        assert row["benchmark"] in experiment.test_benchmarks()
        # What nobody has seen says so.
        assert row["verified"] or "recalled" in row["source"] or "table" in row["source"]


def test_the_task_of_a_recipe_is_the_one_that_its_main_student_learns(recipe):
    _, experiment = read(recipe.stem)
    arm = next(a for a in experiment.arms if experiment.main in [r for r, _, _ in a.rows()])
    if arm.combine:
        arm = experiment.arm(arm.of[0])
    tasks = "+".join(
        chain_set(experiment, arm, taught, tiny=False).task(taught[1]) for taught in arm.taught()
    )
    said = f"MIXTURE_OR_TASK_NAME = '{tasks}'"
    assert said in recipe.read_text() or recipe.stem.startswith(OWN_TASK)


def test_the_header_of_a_recipe_shows_a_tiny_run_and_a_full_one(recipe, tmp_path, monkeypatch):
    text = recipe.read_text()
    said = recipe_commands.commands(text)
    tiny = ["t5distill", "reproduce", recipe.stem, "--tiny", "--workdir", "runs/tiny"]
    assert tiny in said
    for heading in ("# Command", "# Hardware and time:", "# Expected result:"):
        assert f"\n{heading}" in text
    monkeypatch.chdir(tmp_path)
    for words in said:
        if words[1] == "reproduce":
            assert main([*words[1:], "--dry-run"]) == 0
    assert list(tmp_path.iterdir()) == [], "a dry run writes nothing"


def test_a_student_of_bytes_is_scored_on_what_it_wrote(tmp_path, capsys):
    given = ["--workdir", str(tmp_path / "work"), "--raw", "gsm8k=x", "--dry-run"]
    assert main(["reproduce", "magister_gsm8k", "--model", "byt5_base", *given]) == 0
    assert "gsm8k_cot_gpt_3_5_turbo__byt5-test.jsonl" in capsys.readouterr().out
    assert main(["reproduce", "magister_gsm8k", "--model", "t5_1_1_base", *given]) == 0
    assert "gsm8k_cot_gpt_3_5_turbo-test.jsonl" in capsys.readouterr().out


def test_a_tiny_run_needs_no_files_no_key_and_no_weights(recipe):
    _, experiment = read(recipe.stem, tiny=True)
    assert experiment.model == "tiny"
    assert all(map(is_generated, (experiment.benchmark, *experiment.test_benchmarks())))
    for each in chain_sets(experiment, tiny=True):
        assert each.asked is None or each.asked.name.startswith("simulated")
        assert each.asked is not None or each.style in TINY_GOLD
        assert each.asked is None or each.benchmark == "embedded"
    by_arm = students(experiment, f"gin/recipes/{recipe.name}", root=ROOT, seed=0, tiny=True)
    for student in by_arm.values():
        assert "gin/models/tiny.gin" in student.files
        assert student.macros.get("OPTIMIZER", "muon") == "muon"


def test_students_that_are_trained_alike_are_one(tmp_path):
    def folders(name, *given, seed=0):
        file, experiment = read(name, tiny=True)
        found = students(experiment, file, root=tmp_path, seed=seed, given=given, tiny=True)
        return {arm: s.folder for arm, s in found.items()}

    gsm8k = folders("magister_gsm8k")
    assert gsm8k["cot"] == gsm8k["cot_calculator"] != gsm8k["answer"]
    assert folders("magister_gsm8k", seed=1)["cot"].parent == gsm8k["cot"].parent
    assert folders("magister_strategyqa")["cot"] == gsm8k["cot"]
    assert folders("magister_gsm8k", "TRAIN_STEPS=61")["cot"] != gsm8k["cot"]
    assert folders("magister_gsm8k", "TRAIN_STEPS=60")["cot"] == gsm8k["cot"]
    assert folders("magister_answer_shown")["shown"] == gsm8k["cot"]
    # Without a teacher's distribution it does not matter how that would be compared.
    assert (
        folders("embedded_match_distribution")["match_sample"]
        == (folders("embedded_match_sample")["match_sample"])
    )
    white = folders("embedded_white_box")
    assert len(set(white.values())) == 3


@pytest.mark.parametrize(
    ("given", "steps"),
    [((), [12, 18]), (("TRAIN_STEPS=400",), [40, 120]), (("TRAIN_STEPS=8",), [8, 8])],
)
def test_a_share_of_a_tiny_run_is_never_next_to_nothing(tmp_path, given, steps):
    file, experiment = read("ho_data_size", tiny=True)
    found = students(experiment, file, root=tmp_path, seed=0, given=given, tiny=True)
    assert [found[arm].macros["TRAIN_STEPS"] for arm in ("cot_10", "cot_30")] == steps


@pytest.mark.parametrize("tiny", [True, False])
def test_different_options_have_different_names(recipe, tiny):
    _, experiment = read(recipe.stem, tiny=tiny)
    sets = chain_sets(experiment, tiny=tiny)
    assert len({s.set_name for s in sets}) == len(sets)
    asked = {s.asked for s in sets if s.asked}
    assert len({(a.benchmark, a.style, a.name) for a in asked}) == len(asked)


def test_where_and_how_fast_a_teacher_is_asked_makes_no_other_chains():
    def made(teacher="m@http://a/v1", **options):
        given = {"prompt": "zero_shot_two_call", "temperature": 0.0, **options}
        _, experiment = read("ho_svamp", teacher=teacher, gin_bindings=[f"GENERATE={given}"])
        return [s.made_of() for s in chain_sets(experiment, tiny=False)]

    assert made() == made("m@http://b:8001/v1") == made(budget="5.00", choices=1)
    assert made() != made("n@http://a/v1")
    assert made() != made(temperature=0.7)


def test_a_temperature_of_zero_is_another_than_the_usual_one():
    given = {"gin_bindings": ["GENERATE={'temperature': 0.0}"]}
    _, greedy = read("embedded_program", tiny=True, **given)
    _, usual = read("embedded_program", tiny=True)
    names = {s.set_name for e in (greedy, usual) for s in chain_sets(e, tiny=True)}
    assert len(names) == 4


def test_names_say_what_is_special():
    _, experiment = read("magister_answer_shown")
    hidden, shown = (
        chain_set(experiment, arm, (None, "cot"), tiny=False) for arm in experiment.arms
    )
    assert (hidden.name, shown.name) == ("gpt_3_5_turbo_no_show_gold", "gpt-3.5-turbo")
    assert hidden.asked.name != shown.asked.name


@pytest.mark.parametrize(
    "macro, message",
    [
        ("STUDENTS={'a': {'stile': 'cot'}}", r"STUDENTS\['a'\]\['stile'\]: did you mean style"),
        ("STUDENTS={'a': {'style': 'cott'}}", "did you mean cot"),
        ("STUDENTS={'a b': {'style': 'cot'}}", "small letters"),
        ("STUDENTS={'a': {}}", "either 'style' or 'combine'"),
        ("STUDENTS={'a': {'style': 'cot', 'role': 'best'}}", "wanted one of"),
        ("STUDENTS={'a': {'combine': 'vote', 'of': 'b'}}", "needs 'b'"),
        ("STUDENTS={'a': {'combine': 'mean', 'of': 'a'}}", "wanted 'combine' of"),
        ("SWEEP={'label': 'size'}", "has no 'x'"),
        ("BASELINE='answers'", "BASELINE is 'answers'; did you mean answer"),
        ("PUBLISHED=({'label': 'x'},)", "PUBLISHED"),
        ("STUDENTZ={}", "did you mean STUDENTS"),
        ("BENCHMARK=gsm8k", "no literal"),
    ],
)
def test_what_a_recipe_may_not_say(macro, message):
    with pytest.raises(UserError, match=message):
        read("magister_gsm8k", gin_bindings=[macro])


def test_mistakes_on_the_command_line(tmp_path, capsys):
    work = ["--workdir", str(tmp_path / "work")]

    def said(*argv):
        assert main(["reproduce", *argv, *work]) == 2
        return capsys.readouterr().err

    assert "did you mean gin/recipes/magister_gsm8k" in said("magister_gsm8")
    assert "wanted at least 1" in said("magister_gsm8k", "--seeds", "0")
    assert "wanted BENCHMARK=PATH" in said("magister_gsm8k", "--raw", "downloads")
    assert "--raw gsm8k=FOLDER" in said("magister_gsm8k")
    assert not formats.style("cot").weighted
