# Two commands do everything on a fresh Debian: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 1000
SEED ?=
ARGS ?=
# On every core; who is done early takes over half of what another has left.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: demo test lint simulate clean

demo: $(VENV)/runs
	$(BIN)/nightdesk demo $(ARGS)

test: $(VENV)/installed
	$(PYTEST) $(ARGS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

simulate: $(VENV)/installed
	NIGHTDESK_SEEDS=$(SEEDS) NIGHTDESK_SEED=$(SEED) $(PYTEST) tests/simulation $(ARGS)

# What runs, and beside it what tests: the oracles of the tests alone are ten times the size of the daemon.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

$(VENV)/runs: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: python3-venv is missing; install it with: apt install python3-venv" >&2; exit 1; }
	@echo "make: installs nightdesk and what it needs into $(VENV); a minute or two"
	@$(INSTALL) .
	@touch $@

$(VENV)/installed: $(VENV)/runs
	@echo "make: installs what the tests need into $(VENV); a minute or two"
	@$(INSTALL) '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
