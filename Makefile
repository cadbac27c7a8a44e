# make install | demo | test | slow | lint       VENV= moves the environment, PYTHON= names the interpreter

VENV ?= .venv
# One more than there are processors, as many tests wait for other processes; more than five gain nothing.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : 5)))
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
	@npm install --silent --no-audit --no-fund --prefix $(VENV)/micropython \
		@micropython/micropython-webassembly-pyscript@1.27.0 >/dev/null 2>&1 \
		|| echo 'MicroPython is not there: its tests are skipped'
	@touch $@

demo: install
	$(BIN)/lensless demo

# What measures time, or kills processes, has the machine to itself; the rest runs side by side, each in one thread.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not alone" -n $(WORKERS) --dist worksteal
	$(BIN)/python -m pytest -m "alone and not slow" $$(grep -rlE 'mark\.alone' tests --include='test_*.py')

# Proofs that take minutes: as many at a time as there are processors, each in one thread.
slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not alone" -n $$(($(WORKERS) - 1)) --dist worksteal
	$(BIN)/python -m pytest -m "alone and slow" $$(grep -rlE 'mark\.alone' tests --include='test_*.py')

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
