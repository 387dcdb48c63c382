"""What an experiment cannot mean is refused before anything is made or paid for."""

import argparse
import json

import pytest

from t5distill.__main__ import main
from t5distill.errors import UserError
from t5distill.records import write_json
from t5distill.reproduce import command
from t5distill.reproduce.chains import chain_sets, check_compared, generate
from t5distill.reproduce.options import Options
from t5distill.reproduce.running import shown_only
from t5distill.reproduce.students import students

RECIPE = """QUESTION = 'Is this one refused?'
BENCHMARK = 'gsm8k'
TEACHER = 'openai:gpt-4'
MODEL = 't5_1_1_base'
STUDENTS = {students}
MIXTURE_OR_TASK_NAME = 'gsm8k_cot_gpt_4'
TASK_FEATURE_LENGTHS = {{'inputs': 512, 'targets': 512}}
TRAIN_STEPS = 100
"""
COT = {"cot": {"style": "cot"}}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a recipe into an empty folder and read it."""
    monkeypatch.chdir(tmp_path)

    def write(students=COT, more="", *bindings):
        (tmp_path / "mine.gin").write_text(RECIPE.format(students=repr(students)) + more)
        given = {"teacher": None, "model": None, "tiny": False}
        return command.read("mine.gin", argparse.Namespace(gin_bindings=list(bindings), **given))[1]

    return write


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "STUDENTS is {}; wanted names"),
        ({"a": "cot"}, "STUDENTS['a'] is 'cot'; wanted fields"),
        ({"A b": {"style": "cot"}}, "wanted a name of small letters"),
        ({1: {"style": "cot"}}, "STUDENTS: 1; wanted a name"),
        ({"a": {"style": 5}}, "['style'] is 5; wanted a text or several"),
        ({"a": {"style": "cot", "steps": "0.5"}}, "['steps'] is '0.5'; wanted a number"),
        ({"a": {"style": "cot", "steps": 3}}, "['steps'] is 3; wanted a share"),
        ({"a": {"style": "cot", "train": "LR"}}, "['train'] is 'LR'; wanted names with values"),
        ({"a": {"style": "cot", "x": "ten"}}, "['x'] is 'ten'; wanted a number"),
        ({"a": {"style": "cot", "generate": {"samples": "many"}}}, "'many' samples"),
        ({"a": {"style": "cot", "generate": {"samples": 0}}}, "0 samples"),
        ({"a": {"style": "cot", "lable": "x"}}, "'lable'"),
        (
            {"a": {"style": ("cot", "program")}, "a_cot": {"style": "cot"}},
            "two rows are called 'a_cot'",
        ),
        (
            {**COT, "b": {"combine": "vote", "of": "cot"}, "c": {"combine": "vote", "of": "b"}},
            "STUDENTS['c'] needs 'b'; wanted a student",
        ),
        (
            {**COT, "b": {"combine": "vote", "of": "cot"}, "c": {"style": "cot", "first": "b"}},
            "STUDENTS['c'] needs 'b'; wanted a student",
        ),
    ],
)
def test_students_that_say_nothing_are_refused_in_words(written, given, said):
    with pytest.raises(UserError) as error:
        written(given)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("TESTS = 'svamp'\n", "TESTS is 'svamp'; wanted a tuple, ('svamp',)"),
        ("PUBLISHED = ('a',)\n", "PUBLISHED: 'a'; wanted accuracy"),
        ("TESTS = ('gsm8k', 'svamp')\nPREPARE_TESTS = {'swamp': {}}\n", "did you mean svamp"),
    ],
)
def test_macros_of_another_kind_are_refused(written, more, said):
    with pytest.raises(UserError) as error:
        written(COT, more)
    assert said in str(error.value)


def test_two_teachers_whose_sets_would_have_one_name_are_refused(written):
    other = {"style": "cot", "teacher": "azure:gpt-4"}
    with pytest.raises(UserError, match="would both be called gsm8k_cot_gpt_4"):
        chain_sets(written({**COT, "other": other}), tiny=False)


def test_fewer_samples_than_the_recipes_are_another_set(written):
    experiment = written(
        {**COT, "one": {"style": "cot", "generate": {"samples": 1}}},
        "GENERATE = {'samples': 8}\n",
    )
    names = [each.set_name for each in chain_sets(experiment, tiny=False)]
    assert names == ["gsm8k_cot_gpt_4", "gsm8k_cot_gpt_4_samples_1"]


def test_what_changes_no_answer_is_in_no_name(written):
    """A ledger would have the answers under another name, and none under this one."""
    more = {"limit": 10, "concurrency": 2, "temperature": 0.0}
    experiment = written({"cot": {"style": "cot", "generate": more}})
    for tiny, name in ((False, "gpt_4_temperature_0_0"), (True, "simulated_temperature_0_0")):
        given = experiment.tiny() if tiny else experiment
        [each] = chain_sets(given, tiny=tiny)
        assert each.set_name.endswith(f"_cot_{name}")


def made(experiment, tmp_path, *given):
    return students(experiment, "mine.gin", root=tmp_path, seed=0, given=given, tiny=False)["cot"]


def test_how_a_recipe_decodes_tells_results_apart(written, tmp_path):
    plain = made(written(), tmp_path)
    (tmp_path / "mine.gin").rename(tmp_path / "other.gin")
    experiment = written(COT, "CALCULATOR = True\n")
    (tmp_path / "mine.gin").rename(tmp_path / "calculator.gin")
    changed = students(experiment, "calculator.gin", root=tmp_path, seed=0, tiny=False)["cot"]
    assert changed.folder == plain.folder and changed.decoding == {"CALCULATOR": True}
    assert changed.results("cot", {}) != plain.results("cot", {})


def test_decoding_on_the_command_line_reaches_decoding_alone(written, tmp_path):
    experiment = written()
    plain, changed = made(experiment, tmp_path), made(experiment, tmp_path, "DECODING='beam'")
    assert changed.folder == plain.folder
    assert "--gin.DECODING='beam'" in changed.infer_arguments("gsm8k_cot", tmp_path, {})
    assert not any("DECODING" in word for word in changed.train_arguments())
    wide = made(experiment, tmp_path, "MODEL_PARALLELISM=2")
    for arguments in (wide.train_arguments(), wide.infer_arguments("gsm8k_cot", tmp_path, {})):
        assert "--gin.MODEL_PARALLELISM=2" in arguments


def test_what_the_experiment_says_of_itself_makes_no_other_student(written, tmp_path):
    bindings = ("QUESTION='Another one?'", "TESTS=('gsm8k',)")
    assert made(written(), tmp_path) == made(written(COT, "", *bindings), tmp_path, *bindings)


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        ("RANDOM_SEED=5", "it is said --seed"),
        ("MIXTURE_OR_TASK_NAME='gsm8k_answer'", "STUDENTS"),
        ("EVAL_SPLIT='test'", "selected on validation"),
    ],
)
def test_what_an_experiment_decides_is_not_set_by_hand(written, tmp_path, binding, said):
    with pytest.raises(UserError) as error:
        made(written(), tmp_path, binding)
    assert said in str(error.value)


def test_no_student_is_selected_on_test_problems(written, tmp_path):
    with pytest.raises(UserError, match="selected on validation alone"):
        made(written({"cot": {"style": "cot", "train": {"EVAL_SPLIT": "test"}}}), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "magister_model_size --model flan_t5_small",
            "compares t5_1_1_base, t5_1_1_xl, t5_1_1_xxl",
        ),
        ("magister_gsm8k --model flan_t5_smal", "did you mean"),
        ("magister_gsm8k --tiny --model flan_t5_small", "--model: --tiny has its own"),
        ("magister_gsm8k --tiny --teacher gold", "--teacher: --tiny has its own"),
        ("magister_gsm8k --sizes 9 9 9 9", "--sizes: --tiny is of"),
        ("magister_gsm8k --raw gsm9k=x", "gsm8k"),
        ("magister_gsm8k --raw gsm8k=x --raw gsm8k=y", "gsm8k is x already"),
        ("magister_gsm8k magister_gsm8k", "magister_gsm8k: a folder of another name"),
        ("no_such_recipe", "no such gin file"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, capsys, arguments, said):
    words = ["reproduce", *arguments.split(), "--workdir", str(tmp_path / "w"), "--dry-run"]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("GENERATE = {'smaples': 8}\n", "--smaples"),
        ("CURATE = {'near-duplicate': 2}\n", "--near-duplicate"),
        ("PREPARE = {'fold': 'one'}\n", "invalid int value: 'one'"),
        ("STUDENTS = {'a': {'style': 'cot', 'train': {'LEARNING_RAT': 1.0}}}\n", "LEARNING_RATE"),
        ("STUDENTS = {'a': {'style': 'cot', 'decode': {'TEMPERATUR': 1.0}}}\n", "TEMPERATURE"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_a_mistake_in_any_stage_is_told_before_the_first(
    written, tmp_path, capsys, more, said, dry
):
    written(COT, more)
    words = ["reproduce", "mine.gin", "--workdir", str(tmp_path / "w"), "--raw", "gsm8k=x"]
    assert main([*words, *["--dry-run"] * dry]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_a_recipes_budget_is_kept_where_the_command_line_has_none(written, tmp_path, capsys):
    prices = {"price-prompt": 1.0, "price-completion": 3.0}
    experiment = written(COT, f"GENERATE = { ({'budget': '1.00', **prices}) }\n")
    [each] = chain_sets(experiment, tiny=False)
    nothing = {"budget": None, "price-prompt": None, "price-completion": None}
    plain = Options(tmp_path, False, (1, 1, 1, 1), (0,), {}, nothing, 0.0, (), True)

    with shown_only():
        generate(each.asked, 1, plain)
        generate(each.asked, 1, plain._replace(cost={**nothing, "budget": "2.00"}))
    first, second = capsys.readouterr().out.split("$ t5distill")[1:]
    assert "--budget 1.00" in first and "--price-prompt 1.0" in first
    assert "--budget 2.00" in second and "--budget 1.00" not in second


@pytest.mark.parametrize(
    ("more", "words", "said"),
    [
        ("", ("--budget", "five"), "--budget 'five': wanted money"),
        ("", ("--budget", "5.00"), "--price-prompt"),
        ("GENERATE = {'budget': 'five'}\n", (), "--budget 'five': wanted money"),
        ("", ("--missing", "1"), "wanted a share"),
    ],
)
def test_a_budget_that_is_none_is_told_before_the_first_stage(
    written, tmp_path, capsys, more, words, said
):
    written(COT, more)
    given = ("--raw", "gsm8k=x", *words)
    assert main(["reproduce", "mine.gin", "--workdir", str(tmp_path / "w"), *given]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_a_set_that_was_never_compared_with_what_is_asked_is_not_used(written, tmp_path):
    [each] = chain_sets(written(), tiny=False)
    test = tmp_path / "gsm8k/test.jsonl"
    path = tmp_path / "chains" / each.set_name / "curation.json"
    path.parent.mkdir(parents=True)
    write_json(path, {"against": [{"file": str(test), "problems": 3}]})
    check_compared(each, ["gsm8k"], tmp_path)
    with pytest.raises(UserError, match=r"curated before .*svamp/test.jsonl was there"):
        check_compared(each, ["gsm8k", "svamp"], tmp_path)


def test_other_problems_under_the_same_name_are_refused(tmp_path, capsys):
    work = ["--workdir", str(tmp_path / "w"), "--raw", "gsm8k=nowhere"]
    assert main(["reproduce", "magister_gsm8k", *work]) == 2
    assert "nowhere" in capsys.readouterr().err
    begun = json.loads((tmp_path / "w/options.json").read_text())
    assert "nowhere" in begun["problems"]["gsm8k"]
    # Nothing came of it: another path is no other beginning until there are problems.
    again = ["reproduce", "magister_gsm8k", *work[:3], "gsm8k=elsewhere"]
    assert main(again) == 2
    assert "elsewhere: no such" in capsys.readouterr().err
    (tmp_path / "w/data/gsm8k").mkdir(parents=True)
    (tmp_path / "w/data/gsm8k/test.jsonl").write_text("")
    assert main([*again[:-1], "gsm8k=nowhere"]) == 2
    assert "begun with gsm8k of ('elsewhere'" in capsys.readouterr().err
