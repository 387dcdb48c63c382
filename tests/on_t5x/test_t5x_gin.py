"""gin/t5x without T5X: macros, and that every binding of ours names a parameter that exists."""

import ast
import json
import pathlib

import pytest
import surface
from gin import config_parser

from t5distill import gin_files

ROOT = pathlib.Path(__file__).parents[2]
RUNS = ("train", "infer", "eval")
# tiny_training.gin is no model: it is read behind one.
MODELS = sorted(p.name for p in (ROOT / "gin/models").glob("*.gin") if p.stem != "tiny_training")
RECIPES = sorted(p.name for p in (ROOT / "gin/recipes").glob("*.gin"))
NEEDED = {
    "train": ["MODEL_DIR='x'"],
    "infer": ["CHECKPOINT_PATH='x'", "INFER_OUTPUT_DIR='y'"],
    "eval": ["CHECKPOINT_PATH='x'", "EVAL_OUTPUT_DIR='y'"],
}
# What T5X has no counterpart of yet; the rest means the same on both engines.
OURS_ALONE = {
    "train": {"REMAT", "LOG_PERIOD"},
    "infer": {"FIRST_CHECKPOINT_PATH", "NUM_SAMPLES", "BEAM_SIZE", "RANDOM_SEED"},
}


def parameters():
    """Return the parameters of every function of the plug-in, by name, without importing T5X."""
    tree = ast.parse((ROOT / "t5distill/on_t5x.py").read_text())
    return {
        node.name: {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def statements(run):
    text = (ROOT / f"gin/t5x/{run}.gin").read_text()
    return list(config_parser.ConfigParser(text, gin_files._Delegate()))


def bindings(run):
    """Yield (function, argument) of everything bound of the plug-in."""
    for s in statements(run):
        if isinstance(s, config_parser.BindingStatement) and s.selector.startswith("on_t5x."):
            yield s.selector.removeprefix("on_t5x."), s.arg_name


@pytest.mark.parametrize("run", RUNS)
def test_every_binding_of_the_plug_in_exists_and_none_is_forgotten(run):
    known, bound = parameters(), {}
    for function, argument in bindings(run):
        assert argument in known[function], f"{function} has no {argument}"
        bound.setdefault(function, set()).add(argument)
    optional = {"make_model": {"dropout_rate", "optimizer", "decode_fn", "z_loss", "objective"}}
    optional["make_model"] |= {"label_smoothing", "loss_normalizing_factor"}
    for function, arguments in bound.items():
        assert known[function] - arguments <= optional.get(function, set()), function


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("run", RUNS)
def test_the_files_of_the_own_engine_go_with_every_run_file(run, recipe):
    for model in MODELS if recipe == RECIPES[0] else MODELS[:1]:
        names = [f"gin/t5x/{run}.gin", f"gin/models/{model}", f"gin/recipes/{recipe}"]
        roots = gin_files.search_roots([str(ROOT)])
        files = [gin_files.read(gin_files.find(name, roots)) for name in names]
        gin_files.check(files, NEEDED[run], run_file=names[0])


@pytest.mark.parametrize("run", ["train", "infer"])
def test_macros_mean_the_same_on_both_engines(run):
    ours, theirs = (
        gin_files.read(ROOT / f"gin/{engine}/{run}.gin").macros for engine in ("runs", "t5x")
    )
    assert ours.keys() - theirs.keys() == OURS_ALONE[run]
    differing = {n for n in ours.keys() & theirs.keys() if ours[n][0] != theirs[n][0]}
    # T5X's restore takes an empty sequence for "nothing", it cannot count a whole split, and its
    # checkpoints do not say what network they are of.
    assert differing <= {"INITIAL_CHECKPOINT_PATH", "EVAL_STEPS", "DTYPE", "VOCAB"}


def test_a_misspelt_macro_is_named():
    files = [gin_files.read(ROOT / "gin/t5x/train.gin")]
    bindings = ["MODEL_DIR='x'", "TRAIN_STPES=3"]
    with pytest.raises(gin_files.UserError, match="TRAIN_STPES; did you mean TRAIN_STEPS"):
        gin_files.check(files, bindings, run_file="gin/t5x/train.gin")


def test_everything_of_t5x_that_is_used_is_in_its_surface():
    """surface.json is of a T5X that was installed: `make t5x-surface` writes it."""
    offered = json.loads(surface.FILE.read_text())["callables"]
    found = surface.used()
    assert {"t5x.trainer.Trainer", "t5x.train.train", "t5x.models.EncoderDecoderModel"} <= set(
        found
    )
    for name, parameters_ in found.items():
        assert name in offered, f"{name}: not in surface.json; make t5x-surface"
        if surface.ANY not in offered[name]:
            assert parameters_ <= set(offered[name]), name
    assert set(offered) <= set(found), "surface.json lists what is not used; make t5x-surface"
