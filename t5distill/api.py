"""`Student`: a trained network that answers questions, without TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from t5distill import formats
from t5distill.errors import UserError
from t5distill.formats import vocabulary as vocabularies
from t5distill.formats.conversation import Talk
from t5distill.records import KINDS, Prediction, Problem, Verdict
from t5distill.student import checkpoints
from t5distill.student.calculator import Calculator, Vocabulary
from t5distill.student.config import T5Config
from t5distill.student.decoding import Output, generate_tokens
from t5distill.student.network import abstract_model, bind, parameters
from t5distill.student.sharding import parameter_shardings
from t5distill.student.weights import open_weights
from t5distill.verify import extract_chain

_DEFAULT_STYLE = "cot"
_DEFAULT_MAX_TOKENS = 256


class Student:
    """A T5 network with its vocabulary.

    Attributes:
      params: the parameter tree, named as in T5X.
      config: the network's shape.
      style: the style that it was trained on, or None where unknown or several.
      task: the task or mixture that it was trained on, or None where unknown.
      lengths: `{"inputs": ..., "targets": ...}` of training, or empty.
      mesh: the devices that `params` lie on, or None.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        config: T5Config,
        *,
        vocabulary: Vocabulary | functools.partial[Vocabulary | None] | None = None,
        style: str | None = None,
        task: str | None = None,
        lengths: Mapping[str, int] | None = None,
        mesh: Mesh | None = None,
    ):
        self.params = jax.device_put(params) if mesh is None else params
        self.config = config
        self.style = style
        self.task = task
        self.lengths = dict(lengths or {})
        self.mesh = mesh
        self._vocabulary = vocabulary

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        vocabulary: str | os.PathLike[str] | Vocabulary | None = None,
        otherwise: str | None = None,
        step: int | str | None = None,
        dtype: str | None = None,
        mesh: Mesh | None = None,
    ) -> Student:
        """Load a student from a checkpoint.

        Args:
          path: a directory that `t5distill train` or T5X wrote, one `checkpoint_{step}` in it, or a
            Hugging Face directory with config.json and safetensors.
          vocabulary: `t5`, `byt5` or `mt5`, the path of a SentencePiece model, or an object with
            `encode` and `decode`; None takes what the checkpoint says.
          otherwise: `t5`, `byt5` or `mt5`, for a checkpoint that says nothing, such as T5X's.
          step: which checkpoint of a training directory: a number, or `best`; None means the best
            where evaluations chose one, else the newest.
          dtype: `float32` or `bfloat16` for the computation; None keeps the checkpoint's.
          mesh: axes `data` and `model`, over which the parameters are spread; None for one device.

        Raises:
          UserError: no checkpoint is there, or its parts do not fit each other.
        """
        path = checkpoints.absolute(path)
        weights = open_weights(path, step)
        config, found = weights.config, weights.record
        if dtype is not None:
            config = dataclasses.replace(config, dtype=dtype)
        wanted = None
        if mesh is not None:
            wanted = _on_mesh(parameters(abstract_model(config)), mesh)
        return cls(
            weights.load(wanted),
            config,
            vocabulary=functools.partial(_vocabulary, vocabulary, path, found, otherwise),
            style=found.get("style"),
            task=found.get("task"),
            lengths=found.get("task_feature_lengths"),
            mesh=mesh,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokenizer; a UserError where the checkpoint names none and none was given."""
        found = self.known_vocabulary()
        if found is None:
            raise UserError(
                "the checkpoint does not say which vocabulary it has; give Student.load's "
                "`vocabulary` t5, byt5, mt5 or the path of a SentencePiece model"
            )
        return found

    def known_vocabulary(self) -> Vocabulary | None:
        """Return the tokenizer, or None where neither the checkpoint nor the caller names one."""
        # Not before it is needed: logits and token ids work where its file is missing.
        if isinstance(self._vocabulary, functools.partial):
            self._vocabulary = self._vocabulary()
        found: Vocabulary | None = self._vocabulary
        return found

    @functools.cached_property
    def _calculator(self) -> Calculator:
        return Calculator(self.vocabulary, self.config.vocab_size)

    def fingerprint(self) -> str:
        """Return a number that changes with the network or any bit of a parameter.

        It is a sum of integers, so it does not depend on how the parameters are spread over
        devices.
        """
        shape = zlib.crc32(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        return f"{shape:08x}{int(_checksum(self.params)):08x}"

    def logits(self, encoder_tokens: Any, decoder_tokens: Any) -> jax.Array:
        """Return teacher-forced logits, float32 `[batch, length, vocab]`.

        Args:
          encoder_tokens: integers `[batch, inputs]`, EOS included, 0 for padding.
          decoder_tokens: integers `[batch, length]`, what the decoder reads: the targets shifted
            right by one, beginning with 0. The logits at a place are those of the next token.
        """
        encoder_tokens = np.asarray(encoder_tokens, np.int32)
        decoder_tokens = np.asarray(decoder_tokens, np.int32)
        return _logits(self.params, encoder_tokens, decoder_tokens, config=self.config)

    def encode(self, text: str) -> list[int]:
        """Return what the network reads for a text, EOS included; `generate` takes it as well."""
        return [*self.vocabulary.encode(text), vocabularies.EOS_ID]

    def generate(
        self,
        texts: Sequence[str | list[int]],
        *,
        max_tokens: int,
        num_samples: int = 1,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        beam_size: int = 1,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        slots: int | None = None,
        calculator: bool = False,
        progress: Callable[[int, list[Prediction]], None] | None = None,
    ) -> list[list[Prediction]]:
        """Decode `num_samples` texts for each input text.

        Args:
          texts: the inputs, as the style writes them; EOS is added here. Or their tokens, as
            `encode` returns them.
          max_tokens: the longest output in tokens, EOS included.
          num_samples: see `student.decoding.generate_tokens`, as for all that follows.
          temperature: 0 for greedy.
          top_k: likewise.
          top_p: likewise.
          beam_size: likewise.
          seed: likewise.
          indices: likewise.
          slots: likewise.
          calculator: whether the exact results of equations are forced (`student.calculator`).
          progress: called with an input's position and its predictions once they are complete.

        Returns:
          For each text its predictions; `problem_id` is the text's position, `meta["tokens"]` the
          number of tokens without EOS. With the calculator `meta["calculator"]` says how many
          values were `forced`, and how many of these the student would have written otherwise
          (`changed`).
        """
        vocabulary = self.vocabulary

        def meta(output: Output) -> dict[str, Any]:
            counts = {"forced": output.forced, "changed": output.changed}
            return {"tokens": len(output.tokens), **({"calculator": counts} if calculator else {})}

        def predictions(i: int, outputs: list[Output]) -> list[Prediction]:
            return [
                Prediction(
                    problem_id=str(i),
                    text=vocabulary.decode(output.tokens),
                    sample=sample,
                    finished=output.finished,
                    meta=meta(output),
                )
                for sample, output in enumerate(outputs)
            ]

        results: list[list[Prediction]] = [[] for _ in texts]

        def keep(i: int, outputs: list[Output]) -> None:
            results[i] = predictions(i, outputs)
            if progress is not None:
                progress(i, results[i])

        generate_tokens(
            self.params,
            self.config,
            [self.encode(text) if isinstance(text, str) else text for text in texts],
            max_tokens=max_tokens,
            num_samples=num_samples,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            beam_size=beam_size,
            seed=seed,
            indices=indices,
            slots=slots,
            mesh=self.mesh,
            calculator=self._calculator if calculator else None,
            progress=keep,
        )
        return results

    def solve(
        self,
        question: str,
        *,
        kind: str = "numeric",
        style: str | None = None,
        choices: list[str] | None = None,
        max_tokens: int | None = None,
        calculator: bool = False,
    ) -> Verdict:
        """Answer one question; the verdict's `answer` is the answer, its outcome is None.

        Args:
          question: the text a person would read.
          kind: what sort of answer is wanted, one of `records.KINDS`.
          style: how to reason; by default as the student was trained, or `cot`.
          choices: the options' texts, for kind `choice`.
          max_tokens: the longest output; by default the targets' length in training, or 256.
          calculator: see `generate`.
        """
        if kind not in KINDS:
            raise UserError(f"kind is {kind!r}, wanted one of {', '.join(KINDS)}")
        problem = Problem(
            id="question",
            question=question,
            answer="",
            kind=kind,
            benchmark="",
            split="test",
            choices=choices,
        )
        if not isinstance(question, str):
            raise UserError(f"question is a {type(question).__name__}, wanted one text")
        if style is None and self.style is None and self.task is not None:
            raise UserError(
                f"this student was taught several styles ({self.task}); say which, e.g. style='cot'"
            )
        style = style or self.style or _DEFAULT_STYLE
        limit = max_tokens or self.lengths.get("targets", _DEFAULT_MAX_TOKENS)
        talk, finished = Talk(formats.style(style).converse(problem)), False
        while talk.pending is not None:
            [[prediction]] = self.generate(
                [talk.pending.text], max_tokens=limit, calculator=calculator
            )
            finished = prediction.finished
            talk.answer(prediction.text, finished=finished)
        verdict = extract_chain(talk.text, problem, style=style, finished=finished)
        # Without a gold answer nothing is right or wrong; `detail` says why there is no answer.
        return dataclasses.replace(verdict, outcome=None)


@functools.partial(jax.jit, static_argnames="config")
def _logits(
    params: Any, encoder_tokens: jax.Array, decoder_tokens: jax.Array, *, config: T5Config
) -> jax.Array:
    return bind(config, params)(encoder_tokens, decoder_tokens)


@jax.jit
def _checksum(params: Any) -> jax.Array:
    """Sum the bits of all parameters, modulo 2**32, each array with its own odd weight."""
    total = jnp.uint32(0)
    for i, leaf in enumerate(jax.tree.leaves(params)):
        bits = jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
        place = jnp.arange(leaf.shape[-1], dtype=jnp.uint32) * jnp.uint32(2) + jnp.uint32(1)
        total += jnp.sum(bits * place, dtype=jnp.uint32) * jnp.uint32(2 * i + 1)
    return total


def _on_mesh(shapes: Any, mesh: Mesh) -> Any:
    """Attach shardings to a tree of shapes."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        shapes,
        parameter_shardings(mesh, shapes),
    )


def _vocabulary(
    given: str | os.PathLike[str] | Vocabulary | None,
    path: epath.Path,
    found: dict[str, Any],
    otherwise: str | None,
) -> Vocabulary | None:
    """Return the vocabulary that the caller or the checkpoint names, or None."""
    if given is None:
        if (named := vocabularies.beside(path, found)) is not None:
            return vocabularies.load(*named)
        return vocabularies.load(otherwise) if otherwise else None
    if not isinstance(given, str | os.PathLike):
        return given
    if given in vocabularies.VOCABULARIES:
        return vocabularies.load(str(given))
    kind = "mt5" if found.get("model_type") == "mt5" else "t5"
    return vocabularies.load(kind, given)
