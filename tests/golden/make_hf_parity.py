"""Make tests/golden/hf_parity/*.npz: Hugging Face's T5 on random weights, logits and tokens.

Run from the repository's root, with torch and transformers installed (made with transformers 5.23.0
and torch 2.13.0, float32 on CPU):

    PYTHONPATH=. python tests/golden/make_hf_parity.py

Weights are drawn here and not by the library, at scales where attention is far from uniform, and
rounded to float16, so that the files stay small and hold exactly what was run.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent / "hf_parity"
NUM_PROMPTS = 64
MAX_TOKENS = 24

# Sizes are tiny; what differs between the families is real: activation, tying and scaling of the
# output, depths, vocabulary, a head width that is not emb_dim / num_heads.
FAMILIES = {
    "t5_1_0": dict(
        vocab_size=96,
        d_model=20,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="relu",
        tie_word_embeddings=True,
    ),
    "t5_1_1": dict(
        vocab_size=112,
        d_model=20,
        d_kv=8,
        d_ff=40,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    ),
    "byt5": dict(
        vocab_size=384,
        d_model=16,
        d_kv=4,
        d_ff=32,
        num_layers=3,
        num_decoder_layers=1,
        num_heads=3,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    ),
    "mt5": dict(
        vocab_size=100,
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    ),
    "unequal": dict(
        vocab_size=80,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=1,
        num_decoder_layers=3,
        num_heads=4,
        feed_forward_proj="relu",
        tie_word_embeddings=True,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=20,
    ),
}


def build(family: str) -> tuple[transformers.PreTrainedModel, dict, np.random.Generator]:
    """Return a model with seeded weights, its configuration, and the generator."""
    rng = np.random.default_rng(sum(map(ord, family)))
    mt5 = family == "mt5"
    config_class = transformers.MT5Config if mt5 else transformers.T5Config
    model_class = (
        transformers.MT5ForConditionalGeneration if mt5 else transformers.T5ForConditionalGeneration
    )
    sizes = FAMILIES[family]
    model = model_class(config_class(**sizes, dropout_rate=0.0, decoder_start_token_id=0)).eval()
    if not sizes["tie_word_embeddings"]:
        # transformers 5 ties these two whatever the configuration says.
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            if "layer_norm" in name:
                values = rng.normal(1.0, 0.1, shape)
            elif "shared" in name and sizes["tie_word_embeddings"]:
                values = rng.normal(0.0, 0.2, shape)  # or every step repeats its own token
            elif "shared" in name or "relative_attention_bias" in name:
                values = rng.normal(0.0, 1.0, shape)
            else:
                values = rng.normal(0.0, shape[-1] ** -0.5, shape)
            if name.endswith((".o.weight", ".wo.weight")):
                values *= 3.0  # so that the layers, not the last token alone, decide the next one
            if "lm_head" in name or "shared" in name:
                values[1] *= 1.8  # so that some rows end before the limit
            parameter.copy_(torch.from_numpy(values.astype(np.float16).astype(np.float32)))
    return model, {**sizes, "model_type": "mt5" if mt5 else "t5"}, rng


def padded(rng: np.random.Generator, rows: int, longest: int, vocab_size: int) -> np.ndarray:
    """Return int64 `[rows, longest]` prompts that end with 1 and are padded with 0."""
    tokens = np.zeros((rows, longest), np.int64)
    for row in tokens:
        length = int(rng.integers(2, longest + 1))
        row[:length] = [*rng.integers(2, vocab_size, length - 1), 1]
    tokens[0, :-1] = rng.integers(2, vocab_size, longest - 1)
    tokens[0, -1] = 1
    return tokens


def main() -> None:
    """Write one file for each family."""
    HERE.mkdir(exist_ok=True)
    for family in FAMILIES:
        model, config, rng = build(family)
        vocab_size = config["vocab_size"]
        # Long enough that distances reach the logarithmic buckets and the last one.
        inputs = padded(rng, 2, 150, vocab_size)
        decoder_inputs = np.zeros((2, 7), np.int64)
        decoder_inputs[:, 1:] = rng.integers(1, vocab_size, (2, 6))
        prompts = padded(rng, NUM_PROMPTS, 20, vocab_size)
        with torch.no_grad():
            logits = model(
                input_ids=torch.from_numpy(inputs),
                attention_mask=torch.from_numpy(inputs != 0).long(),
                decoder_input_ids=torch.from_numpy(decoder_inputs),
            ).logits.numpy()
            greedy = model.generate(
                torch.from_numpy(prompts),
                attention_mask=torch.from_numpy(prompts != 0).long(),
                max_new_tokens=MAX_TOKENS,
                do_sample=False,
                num_beams=1,
                # transformers 5.23 sizes its cache by the encoder's depth and fails otherwise.
                use_cache=family != "unequal",
            ).numpy()[:, 1:]
        greedy = np.pad(greedy, ((0, 0), (0, MAX_TOKENS - greedy.shape[1])))
        state = {
            f"state/{name}": array.numpy().astype(np.float16)
            for name, array in model.state_dict().items()
            if "embed_tokens" not in name
            and not (name == "lm_head.weight" and config["tie_word_embeddings"])
        }
        np.savez_compressed(
            HERE / f"{family}.npz",
            config=np.array(json.dumps(config)),
            inputs=inputs.astype(np.int16),
            decoder_inputs=decoder_inputs.astype(np.int16),
            logits=logits.astype(np.float32),
            prompts=prompts.astype(np.int16),
            greedy=greedy.astype(np.int16),
            **state,
        )
        ended = (greedy == 1).any(1).mean()
        size = (HERE / f"{family}.npz").stat().st_size
        print(f"{family}: {ended:.0%} of the prompts end, {size} bytes")


if __name__ == "__main__":
    main()
