# make install | demo | test | slow | lint       VENV= moves the environment, PYTHON= names the interpreter

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: install demo test slow lint

install: $(READY)

# torch and its libraries are some gigabytes: the first installation takes minutes.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lensless needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/lensless demo

test: install
	$(BIN)/python -m pytest

# Proofs that take minutes.
slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
