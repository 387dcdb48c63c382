# Every target does its own set-up: a virtual environment in .venv, installed from the package index.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Two simulated hosts share two cores; more test processes than cores only slow each other.
JOBS ?= 2

# Where checkouts of T5X, airio and jestimator lie, e.g. /src/t5x:/src/airio:/src/jestimator (docs/t5x.md).
T5X_PATH ?=

.PHONY: help quickstart recipes test test-t5x t5x-surface check bench soak clean
help:
	@echo "make quickstart   the whole corridor on embedded problems, about ten minutes"
	@echo "make test         the test suite"
	@echo "make recipes      every recipe's tiny run, as its header shows it, and the reports in a browser"
	@echo "make check        ruff and pyright"
	@echo "make bench        training and decoding beside Hugging Face and T5X; asking a teacher; the sandbox"
	@echo "make soak         the longer checks"
	@echo "make test-t5x     what needs T5X, with T5X_PATH (docs/t5x.md)"
	@echo "make t5x-surface  what T5X offers of what we use, into a file that make test checks"

$(VENV)/installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[teacher,test,check]'
	touch $@

quickstart: $(VENV)/installed
	$(BIN)/t5distill quickstart --workdir runs/quickstart

test: $(VENV)/installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not soak" tests

# The TPU's compiler, apart: with it on the path JAX looks for a TPU at every start.
LIBTPU := $(CURDIR)/$(VENV)/libtpu
$(LIBTPU): $(VENV)/installed
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt --target $@ libtpu

soak: $(VENV)/installed $(LIBTPU)
	LIBTPU_PATH=$(LIBTPU) $(BIN)/python -m pytest -m soak tests

$(VENV)/t5x: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt cached_property fiddle grain tensorboard
	touch $@

test-t5x: $(VENV)/t5x
	@PYTHONPATH=$(T5X_PATH) $(BIN)/python -c "import t5x" || (echo "no T5X in T5X_PATH: docs/t5x.md"; exit 1)
	PYTHONPATH=$(T5X_PATH) $(BIN)/python -m pytest tests/on_t5x

t5x-surface: $(VENV)/t5x
	PYTHONPATH=$(T5X_PATH) $(BIN)/python tests/on_t5x/surface.py

# What every recipe's header shows, in one folder: about half an hour on two cores.
recipes: $(VENV)/installed
	$(BIN)/python scripts/recipe_commands.py runs/recipes
	T5DISTILL_REPRODUCTIONS=runs/recipes \
	  $(BIN)/python -m pytest -m soak tests/report/test_report_reproductions.py

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The peers of the benchmarks are an extra: installed only here.
$(VENV)/bench: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt '.[bench]'
	touch $@

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks.teacher
	$(BIN)/python -m benchmarks.execution
	$(BIN)/python -m benchmarks.engines

clean:
	rm -rf $(VENV) build dist *.egg-info
