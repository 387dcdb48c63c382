"""Packaging of t5distill; `gin/` and `tasks.py` lie beside the package, installed with it."""

import pathlib

import setuptools

HERE = pathlib.Path(__file__).parent

CORE = [
    "jax>=0.7",
    "flax>=0.12",
    "optax>=0.2.5",
    "orbax-checkpoint>=0.11",
    "seqio>=0.0.20",
    "tensorflow>=2.20",
    "tensorflow-datasets>=4.9.9",
    "importlib_resources",  # needed by tensorflow-datasets to write, which does not declare it
    "gin-config>=0.5",
    "clu>=0.0.12",
    "tensorboard",  # which clu imports and does not declare
    "sentencepiece>=0.2.3",
    "numpy",
    "scipy",  # which jax needs too: quantiles of intervals over several students
    "sympy>=1.13",  # inside the sandbox only: programs of thought, non-linear systems
    "tqdm",
]

setuptools.setup(
    name="t5distill",
    version="0.1.0",
    description="Distil the reasoning of large language models into small T5 students on JAX.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*setuptools.find_packages(include=["t5distill", "t5distill.*"]), "t5distill.gin"],
    package_dir={"t5distill": "t5distill", "t5distill.gin": "gin"},
    package_data={
        "t5distill.gin": ["**/*.gin"],
        "t5distill": ["**/*.tsv", "**/*.json"],
        "t5distill.report": ["page.html", "page.css", "page.js"],
    },
    py_modules=["tasks"],
    install_requires=CORE,
    extras_require={
        "teacher": ["openai[aiohttp]", "h11"],
        "report": [],
        "test": [
            "pytest>=8",
            "pytest-xdist",
            "hypothesis",
            "playwright",  # drives the Chromium that reads a report; .ci/run installs that
            "psutil",
            "safetensors",
            "tokenizers",
            "trustme",  # a certificate for the loopback Cloud Storage
        ],
        "check": ["ruff", "pyright"],
        "bench": ["torch", "transformers", "httpx", "psutil"],
        "cuda": ["jax[cuda12]"],
        "tpu": ["jax[tpu]"],
        "plan": ["jax[tpu]"],  # its compiler, wherever plans are made
    },
    entry_points={"console_scripts": ["t5distill = t5distill.__main__:main"]},
)
