SHELL := /bin/bash
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup lock demo serve test faults deployments interleavings mutants bench lint clean test-backends

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: .venv/installed ## Build .venv from requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; name one: make setup PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@# Compiled once here: where Python may not write bytecode itself, every start would compile cognee again (8 s).
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

lock: ## Compile requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes \
		--extra local --extra postgres --extra otel --extra redact \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--constraint requirements.lock pyproject.toml -o deployments/docker/requirements.lock

demo: setup ## Tell the whole story on this machine, with no key and no network
	@$(BIN)/session-memory demo

serve: setup ## Serve everything on this machine: Prefect's server and page, deployments, schedules
	@$(BIN)/session-memory serve

test: setup ## Run the tests, of the fault matrix the quick half
	INTERLEAVING_STEPS=$${INTERLEAVING_STEPS:-75} $(BIN)/pytest -n 2 -m "not long" --durations=40

test-backends: setup ## The main job and its faults over Redis, files, Postgres with pgvector, and Postgres' graph
	$(BIN)/python -m tests.backends

faults: setup ## Run the whole fault matrix and print its table (FAULTS=long: without what `make test` runs)
	$(BIN)/pytest -n 2 tests/faults $(if $(FAULTS),-m $(FAULTS))

deployments: setup ## Show the ways in against a real Prefect server, workers and a browser
	$(BIN)/pytest tests/deployments -m long

interleavings: setup ## Ten thousand steps of everything that can happen, against a model (an hour and a half)
	INTERLEAVING_STEPS=10000 INTERLEAVING_PARTS=20 INTERLEAVING_SEED=$${INTERLEAVING_SEED:-$$RANDOM} \
		$(BIN)/pytest -n 2 tests/faults/test_interleavings.py

mutants: setup ## Take out each guard of tests/mutations.md and see its test fail
	$(BIN)/python -m tests.mutants

bench: setup ## Measure every bar beside cognee's own pipeline (REPEAT=5: about an hour)
	$(BIN)/python -m benchmarks.bars --repeat $(or $(REPEAT),5)

lint: setup ## Check the house, the style and the types
	$(BIN)/lint-imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/hadolint deployments/docker/Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec deployments/docker/compose.yaml

clean: ## Remove what was built and the demo's state
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
