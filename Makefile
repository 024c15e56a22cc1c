# `make` alone says what there is.
.DEFAULT_GOAL := help
.PHONY: help run test check format bench lock upgrade clean

VENV := .venv
BIN := $(VENV)/bin
CODE := scheduler_service tests benchmarks

# A lock is valid for every supported Python and platform, holds hashes and names no address.
# Settings of the machine it is made on must not leak into it.
COMPILE := env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
	$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE) pyproject.toml

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run:  ## start the service; the first time this makes .venv and installs into it
	@scripts/install runtime
	@exec $(BIN)/scheduler-service run

test: check  ## everything: the checks, then the tests
	@$(BIN)/pytest

check:  ## formatting, lint, types, layers
	@scripts/install dev
	@$(BIN)/ruff format --check --quiet $(CODE) || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports --no-logo

format:  ## put the code into its one format
	@scripts/install dev
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix --quiet $(CODE)

lock:  ## write requirements/*.txt anew from pyproject.toml, keeping the versions that still fit
	@scripts/install dev
	@$(COMPILE) --group build --output-file requirements/runtime.txt
	@$(COMPILE) --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt

upgrade:  ## the same, with the newest versions
	@$(MAKE) --no-print-directory lock UPGRADE=--upgrade

clean:  ## remove .venv and what the tools left behind; data stays
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

bench:  ## how much of the possible speed the whole path keeps
	@scripts/install dev
	@$(BIN)/python benchmarks/throughput.py
