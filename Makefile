# Everything below works on a fresh machine with Python 3.11 or newer: the first call makes .venv.
# ARGS passes options on: make train ARGS="--env hopper"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: train test lint

train: $(VENV)/.installed
	$(BIN)/python -m lamour_jax.train $(ARGS)

test: lint
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/mypy

# Installed anew only when pyproject.toml has changed since.
$(VENV)/.installed: pyproject.toml
	@echo "Installing into $(VENV) (once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-for-tests: pyproject.toml
	@echo "Installing into $(VENV), with what the tests need (once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	@touch $@ $(VENV)/.installed
