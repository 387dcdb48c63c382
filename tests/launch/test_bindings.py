"""Each run file with each model and recipe: gin's own parser, and the objects that come out."""

import argparse
import dataclasses
import pathlib

import gin
import jax
import pytest

from t5distill import gin_files
from t5distill.student import network
from t5distill.student.config import T5Config
from t5distill.student.settings import Settings

GIN = pathlib.Path(__file__).parents[2] / "gin"
# tiny_training.gin is no model: it is read behind one.
MODELS = sorted(p.stem for p in (GIN / "models").glob("*.gin") if p.stem != "tiny_training")
RECIPES = sorted(p.stem for p in (GIN / "recipes").glob("*.gin"))
OUTPUTS = {
    "train": ("t5distill.train.train", ["MODEL_DIR='x'"]),
    "infer": ("t5distill.infer.infer", ["CHECKPOINT_PATH='x'", "INFER_OUTPUT_DIR='y'"]),
    "eval": ("t5distill.eval.evaluate", ["CHECKPOINT_PATH='x'", "EVAL_OUTPUT_DIR='y'"]),
}


def load(run, model, recipe):
    entry, bindings = OUTPUTS[run]
    args = argparse.Namespace(
        gin_file=[f"gin/runs/{run}.gin", f"gin/models/{model}.gin", f"gin/recipes/{recipe}.gin"],
        gin_bindings=bindings,
        gin_search_paths="",
    )
    files = gin_files.checked(args, run_file=f"gin/runs/{run}.gin", entry=entry)
    return gin_files.configured(files, args, entry=entry)


def size(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def count_parameters(config):
    """Count without building a deep network: layers of a stack are alike."""
    one = dataclasses.replace(config, num_encoder_layers=1, num_decoder_layers=1)
    params = network.parameters(network.abstract_model(one))
    return (
        size(params)
        + (config.num_encoder_layers - 1) * size(params["encoder"]["layers_0"])
        + (config.num_decoder_layers - 1) * size(params["decoder"]["layers_0"])
    )


def test_flan_t5_differs_from_t5_1_1_in_its_weights_alone():
    for flan in (m for m in MODELS if m.startswith("flan")):
        same, other = (
            gin_files.read(GIN / "models" / f"{name}.gin").macros
            for name in (flan, flan.replace("flan_t5", "t5_1_1"))
        )
        differing = {name for name in same if name not in other or same[name][0] != other[name][0]}
        assert differing == {"INITIAL_CHECKPOINT_PATH"}


@pytest.mark.parametrize("model", [m for m in MODELS if not m.startswith("tiny")])
def test_a_public_size_begins_with_its_public_weights(model):
    macros = gin_files.read(GIN / "models" / f"{model}.gin").macros
    address = macros["INITIAL_CHECKPOINT_PATH"][0].strip("'\"")
    assert address.startswith("gs://t5-data/pretrained_models/t5x/")
    # T5 1.0 is T5 there.
    assert f"/{model.replace('t5_1_0', 't5')}/checkpoint_" in address


@pytest.mark.parametrize("model", [m for m in MODELS if not m.startswith("flan")])
def test_models_and_their_sizes(model):
    load("train", model, "gsm8k_gold_cot")
    count = count_parameters(gin.get_configurable(T5Config)())
    header = (GIN / "models" / f"{model}.gin").read_text()
    unit = 1e9 if "billion parameters" in header else 1e6
    stated = float(header.split("illion parameters")[0].split()[-2])
    assert count / unit == pytest.approx(stated, rel=0.05, abs=0.05)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("run", OUTPUTS)
def test_recipes_with_every_run_file(run, recipe):
    assert callable(load(run, "tiny", recipe))
    if run == "train":
        assert gin.get_configurable(Settings)().train_steps > 0
