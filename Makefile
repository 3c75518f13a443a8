# Everything below works on a fresh machine with Python 3.11 or newer: the first call makes .venv.
# ARGS passes options on: make train ARGS="--env hopper"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: train test lint lowest newest

train: $(VENV)/.installed
	$(BIN)/python -m lamour_jax.train $(ARGS)

# Two files of tests at a time; each of the two processes needs up to 5 GB. One that had to be ended,
# because a test took too long, is not started again: it would run the same test.
test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --max-worker-restart 0 $(ARGS)

lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/mypy

# The lowest versions that pyproject.toml admits, in an environment of their own, and a part of the
# tests on them. LOWEST_ARGS chooses another part.
LOWEST_ARGS ?= -m "not slow" tests/lamour_jax/test_train_errors.py \
	tests/lamour_jax/test_loggers.py tests/lamour_jax/test_resume.py \
	tests/reward_codegen/test_program.py tests/envs/test_registry.py tests/end_to_end/test_run.py
lowest: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-lowest
	$(BIN)/uv pip install --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable .
	$(BIN)/uv pip install --python $(VENV)-lowest/bin/python pytest pytest-timeout hypothesis
	PYTHONPATH=$(CURDIR) $(VENV)-lowest/bin/python -m pytest $(LOWEST_ARGS)

# The newest versions that the package index has, in an environment of their own, and the whole suite
# on them: to be run on a schedule.
newest: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-newest
	$(BIN)/uv pip install --python $(VENV)-newest/bin/python --upgrade --editable '.[test,dev]'
	PYTHONPATH=$(CURDIR) $(VENV)-newest/bin/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

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
