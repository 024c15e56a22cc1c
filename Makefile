# `make` alone says what there is.
.DEFAULT_GOAL := help
.PHONY: help run test check format bench docs lock upgrade clean image image-test

# Set, it makes every start of the command compile the service anew: seconds each, and the tests start it hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
CODE := scheduler_service tests benchmarks

# A lock is valid for every supported Python and platform, holds hashes and names no address.
# Settings of the machine it is made on must not leak into it.
COMPILE := env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
	$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE) pyproject.toml

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

run:  ## start the service; the first time this makes .venv and installs into it
	@scripts/install runtime
	@exec $(BIN)/scheduler-service run

test: check  ## everything: the checks, then the tests
	@$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder  # the longest come first, as they stand

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
	@$(COMPILE) --group build --extra alerts --constraint requirements/runtime.txt --output-file requirements/alerts.txt
	@$(COMPILE) --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt

upgrade:  ## the same, with the newest versions
	@$(MAKE) --no-print-directory lock UPGRADE=--upgrade

clean:  ## remove .venv and what the tools left behind; data stays
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

docs:  ## write docs/configuration.md anew from the types of the settings
	@scripts/install dev
	@$(BIN)/python -m scheduler_service.cli.reference > docs/configuration.md

bench:  ## how much of the possible speed the whole path keeps
	@scripts/install dev
	@$(BIN)/python benchmarks/throughput.py

# PREFIX, DESTDIR and EXTRAS=alerts are honoured. What they do is in docs/systemd.md.
install-service:  ## as root: install the service for systemd, with a program of its own and a configuration to fill in
	@scripts/service install system

remove-service:  ## as root: stop and remove it; configuration and data stay
	@scripts/service remove system

install-user-service:  ## the same for one user, without root
	@scripts/service install user

remove-user-service:  ## stop and remove that
	@scripts/service remove user

image:  ## build the container image; docs/docker.md
	@DOCKER_BUILDKIT=1 docker build --tag scheduler-service .

image-test:  ## build and run the image, by the container engine and (as root) by buildah: does it keep its promises?
	@scripts/install dev
	@IMAGE_TEST=1 $(BIN)/pytest tests/acceptance/test_docker.py tests/acceptance/test_image_*.py
