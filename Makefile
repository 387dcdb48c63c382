# Every target does its own set-up: a virtual environment in .venv, installed from the package index.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Two simulated hosts share two cores; more test processes than cores only slow each other.
JOBS ?= 2

.PHONY: help quickstart test check bench soak clean
help:
	@echo "make quickstart   the whole corridor on embedded problems, about ten minutes"
	@echo "make test         the test suite"
	@echo "make check        ruff and pyright"
	@echo "make bench        training and decoding beside Hugging Face and T5X; asking a teacher; the sandbox"
	@echo "make soak         the longer checks"

$(VENV)/installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[teacher,test,check]'
	touch $@

quickstart: $(VENV)/installed
	$(BIN)/t5distill quickstart --workdir runs/quickstart

test: $(VENV)/installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not soak" tests

soak: $(VENV)/installed
	$(BIN)/python -m pytest -m soak tests

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
