# Everything here sets itself up: a machine needs Python 3.11 or later with venv, git and make, and nothing else.
# ARGS are passed on: make demo ARGS='--leads 1000', make test ARGS='tests/unit -k coverage'.

VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
ARGS ?=
PYTHON ?=

.DEFAULT_GOAL := help
.PHONY: help demo test nightly check format bench clean

help: ## this list
	@echo 'make TARGET [ARGS=...]'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name what; do printf '  %-8s %s\n' $$name "$$what"; done

demo: $(READY) ## the whole product on this machine: sample terms, buyers that answer, a stream of leads
	@$(BIN)/lead-router demo $(ARGS)

test: $(READY) ## every test
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

nightly: $(READY) ## the properties over ten thousand examples each, days of trouble over many seeds: about an hour
	@$(BIN)/python -m pytest -n auto --dist worksteal -o timeout=0 -m nightly -vv $(ARGS)

check: $(READY) ## format, lint, types, and that imports point one way
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## put every file into the one format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY) ## how fast a decision is; bench/README.md says how to read it
	@$(BIN)/python -m bench.decide $(ARGS)

clean: ## remove what was built here: the environment and caches
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find router tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@set -e; found=; \
	for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'lead-router needs Python 3.11 or later with its venv module (on Debian: apt install python3-venv).' >&2; \
	  echo 'If it is not on the path, name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3' >&2; exit 1; \
	fi; \
	echo "setting up $(VENV) with $$($$found --version), once; this takes about a minute"; \
	$$found -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev]'; \
	touch $@
