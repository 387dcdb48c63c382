"""The network and greedy decoding against Hugging Face's T5, on recorded and on live results."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.student import huggingface
from t5distill.student.config import T5Config
from t5distill.student.decoding import generate_tokens
from t5distill.student.network import abstract_model, bind, parameters

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "hf_parity"
FAMILIES = sorted(path.stem for path in GOLDEN.glob("*.npz"))
MAX_TOKENS = 24

live = pytest.mark.skipif(
    not (importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")),
    reason="torch and transformers are not installed: recorded results are checked, not live ones",
)


def maker():
    """The script that made the recorded results; it needs torch."""
    spec = importlib.util.spec_from_file_location("maker", GOLDEN.parent / "make_hf_parity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded(family):
    data = np.load(GOLDEN / f"{family}.npz")
    config = huggingface.config_from_huggingface(json.loads(str(data["config"])))
    state = {k.removeprefix("state/"): data[k] for k in data.files if k.startswith("state/")}
    return config, state, data


def same_tokens(params, config, prompts, wanted):
    """Greedy decoding of padded prompts gives the padded tokens `wanted`, EOS included."""
    inputs = [row[row > 0].tolist() for row in prompts]
    outputs = generate_tokens(params, config, inputs, max_tokens=MAX_TOKENS, slots=16)
    for [output], row in zip(outputs, wanted.tolist(), strict=True):
        assert output.finished == (1 in row)
        assert output.tokens == (row[: row.index(1)] if 1 in row else row)


def test_every_family_is_recorded():
    assert FAMILIES == ["byt5", "mt5", "t5_1_0", "t5_1_1", "unequal"]


@pytest.mark.parametrize("family", FAMILIES)
def test_recorded_logits_and_greedy_tokens(family):
    config, state, data = recorded(family)
    params = huggingface.from_huggingface(state, config)
    logits = bind(config, params)(
        data["inputs"].astype(np.int32), data["decoder_inputs"].astype(np.int32)
    )
    np.testing.assert_allclose(np.asarray(logits), data["logits"], atol=2e-4, rtol=0)
    assert len(data["prompts"]) == 64
    same_tokens(params, config, data["prompts"], data["greedy"])


@live
@pytest.mark.parametrize("family", FAMILIES)
def test_live_logits_and_greedy_tokens(family):
    import torch

    make_hf_parity = maker()
    model, obj, rng = make_hf_parity.build(family)
    config = huggingface.config_from_huggingface(obj)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    if config.logits_via_embedding:
        state.pop("lm_head.weight")
    params = huggingface.from_huggingface(state, config)
    tokens = make_hf_parity.padded(rng, 64, 20, config.vocab_size)
    decoder_tokens = np.zeros((64, 20), np.int64)
    decoder_tokens[:, 1:] = rng.integers(1, config.vocab_size, (64, 19))
    mask = torch.from_numpy(tokens != 0).long()
    with torch.no_grad():
        wanted = model(
            input_ids=torch.from_numpy(tokens),
            attention_mask=mask,
            decoder_input_ids=torch.from_numpy(decoder_tokens),
        ).logits.numpy()
        greedy = model.generate(
            torch.from_numpy(tokens),
            attention_mask=mask,
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            num_beams=1,
            use_cache=family != "unequal",
        ).numpy()[:, 1:]
    found = bind(config, params)(tokens.astype(np.int32), decoder_tokens.astype(np.int32))
    np.testing.assert_allclose(np.asarray(found), wanted, atol=2e-4, rtol=0)
    same_tokens(params, config, tokens, greedy)


@live
def test_live_bucket_table():
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    from t5distill.student.layers import relative_position_bucket

    distance = np.arange(-3000, 3001)
    for bidirectional in (True, False):
        for buckets, far in ((32, 128), (32, 256), (16, 64), (8, 20)):
            found = relative_position_bucket(
                distance.astype(np.int32),
                bidirectional=bidirectional,
                num_buckets=buckets,
                max_distance=far,
            )
            wanted = T5Attention._relative_position_bucket(
                torch.from_numpy(distance), bidirectional, buckets, far
            )
            np.testing.assert_array_equal(np.asarray(found), wanted.numpy())


@live
@pytest.mark.parametrize("family", ["t5_1_0", "t5_1_1"])
def test_transformers_loads_what_is_exported(family, tmp_path):
    """transformers 5 ties the output whatever config.json says, unless the file holds both."""
    import transformers
    from safetensors.numpy import save_file

    config, state, data = recorded(family)
    params = huggingface.from_huggingface(state, config)
    exported = huggingface.to_huggingface(params, config)
    save_file(exported, tmp_path / "model.safetensors", metadata={"format": "pt"})
    obj = huggingface.config_to_huggingface(config)
    (tmp_path / "config.json").write_text(json.dumps(obj))
    model = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    import torch

    tokens = data["inputs"].astype(np.int64)
    with torch.no_grad():
        logits = model(
            input_ids=torch.from_numpy(tokens),
            attention_mask=torch.from_numpy(tokens != 0).long(),
            decoder_input_ids=torch.from_numpy(data["decoder_inputs"].astype(np.int64)),
        ).logits.numpy()
    np.testing.assert_allclose(logits, data["logits"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_and_shapes_cover_our_tree(family):
    config, state, _ = recorded(family)
    params = huggingface.from_huggingface(state, config)
    fresh = parameters(abstract_model(config))
    shapes = _shapes(params)
    assert shapes == _shapes(fresh)
    back = huggingface.to_huggingface(params, config)
    assert set(back) == set(state)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array.astype(np.float32))
        assert back[name].flags.c_contiguous


def _shapes(tree):
    return {
        key: _shapes(value) if isinstance(value, dict) else tuple(value.shape)
        for key, value in tree.items()
    }


def test_config_round_trip():
    for family in FAMILIES:
        config, _, _ = recorded(family)
        obj = huggingface.config_to_huggingface(config)
        assert huggingface.config_from_huggingface(obj) == config


@pytest.mark.parametrize(
    ("change", "tied"),
    [
        ({}, True),
        ({"tie_word_embeddings": False}, False),
        # As transformers 5 saves T5 1.1 and mT5.
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, False),
        ({"tie_word_embeddings": True, "model_type": "mt5"}, False),
    ],
)
def test_whether_the_output_is_the_embedding(change, tied):
    config = huggingface.config_from_huggingface({**_sizes(), **change})
    assert config.logits_via_embedding is tied


def test_an_output_that_is_left_out_is_the_embedding():
    config, state, _ = recorded("mt5")
    state.pop("lm_head.weight")
    params = huggingface.from_huggingface(state, config)
    np.testing.assert_array_equal(
        params["decoder"]["logits_dense"]["kernel"], params["token_embedder"]["embedding"].T
    )


def _sizes():
    return {"vocab_size": 8, "d_model": 4, "d_kv": 2, "d_ff": 4, "num_layers": 2, "num_heads": 2}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "bart"}, "model_type is 'bart'"),
        ({"d_kv": None}, "d_kv"),
        ({"feed_forward_proj": "gated-silu"}, "gated-silu"),
        ({"eos_token_id": 2}, "eos_token_id is 2"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon"),
    ],
)
def test_config_of_another_network(change, said):
    with pytest.raises(UserError, match=said):
        huggingface.config_from_huggingface({**_sizes(), **change})


def test_decoder_depth_defaults_to_the_encoders():
    assert huggingface.config_from_huggingface(_sizes()).num_decoder_layers == 2
    deeper = {**_sizes(), "num_decoder_layers": 5}
    assert huggingface.config_from_huggingface(deeper).num_decoder_layers == 5


def test_errors_name_the_array():
    config, state, _ = recorded("t5_1_1")
    name = "decoder.block.1.layer.1.EncDecAttention.k.weight"
    with pytest.raises(UserError, match=f"lack the array {name}"):
        huggingface.from_huggingface({k: v for k, v in state.items() if k != name}, config)
    cut = {**state, name: state[name][:, :3]}
    with pytest.raises(UserError, match=rf"{name} has shape \(16, 3\), .* wants \(16, 20\)"):
        huggingface.from_huggingface(cut, config)
    with pytest.raises(UserError, match=r"does not announce"):
        huggingface.from_huggingface({**state, "encoder.block.7.x.weight": state[name]}, config)


def test_too_shallow_a_config_is_refused():
    config, state, _ = recorded("t5_1_1")
    shallow = T5Config(**{**config.to_dict(), "num_decoder_layers": 1})
    with pytest.raises(UserError, match=r"e\.g\. decoder\.block\.1"):
        huggingface.from_huggingface(state, shallow)
