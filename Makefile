# Every target does its own set-up: a fresh machine needs Python 3.11, make and a C compiler.
# `make help` lists what there is.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PROMPT ?= a red ball bounces across a green meadow at sunset
OUT ?= out/demo.mp4
JOBS ?= 40
SEED ?= 1
STORE ?= sqlite
GATEWAYS ?= 1

# Two cores are enough to build and to run; more are used where they are free.
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || echo 2)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests and demo never look for models on a hub.
export HF_HUB_OFFLINE ?= 1
# Threads that wait for each other must not burn the cores that the others need.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo up test check proto chaos bench compose-test clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.services ## Make a video from PROMPT="…" with the bundled demo models, into OUT=…
	@mkdir -p $(dir $(OUT))
	@$(BIN)/wanworker demo "$(PROMPT)" --output $(OUT)

up: $(VENV)/.services ## Run the three services on the demo models in the foreground
	@$(BIN)/wanworker up --demo

test: $(VENV)/.dev ## Run all tests
	$(BIN)/python -m pytest

chaos: $(VENV)/.dev ## Kill the processes at random under JOBS=… jobs, planned by SEED=…, on STORE=sqlite, postgres or a URL, with GATEWAYS=1
	@$(BIN)/python -m tests.chaos --jobs $(JOBS) --seed $(SEED) --store "$(STORE)" --gateways $(GATEWAYS)

compose-test: $(VENV)/.dev ## Build the images and try docker-compose.yml on a container engine (COMPOSE="docker compose")
	$(BIN)/python -m pytest -m compose tests/compose --capture=tee-sys

bench: $(VENV)/.dev ## Measure what benchmarks/ measures, and print the tables
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

check: $(VENV)/.dev $(VENV)/.proto ## Lint, types, contract, generated files: everything that is not a test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	BIN=$(BIN) scripts/generate.sh --check
	BUF=$(BIN)/buf scripts/breaking.sh
	$(BIN)/python -m scripts.settings_table --check

proto: $(VENV)/.dev $(VENV)/.proto ## Regenerate stubs, validation rules and the README's settings table
	$(BIN)/buf format -w protos
	BIN=$(BIN) scripts/generate.sh
	$(BIN)/python -m scripts.settings_table

clean: ## Delete the virtual environments and what was made by running
	rm -rf .venv .venv-proto out .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The services with everything that they need; llama-cpp-python compiles for some minutes the first time.
$(VENV)/.services: $(BIN)/python pyproject.toml clients/python/pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (the first time takes some minutes: llama.cpp is compiled) …"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable "clients/python[cli,tracing]" --editable ".[all]"
	@touch $@

$(VENV)/.dev: $(VENV)/.services
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable "clients/python[cli,tracing]" --editable ".[all,dev]"
	@touch $@

# Old on purpose: stubs made by grpcio-tools 1.71.2 load on every grpcio >= 1.71.2 and protobuf >= 5.29.
$(VENV)/.proto: $(BIN)/python Makefile
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/python -m pip install --quiet "setuptools<81" grpcio-tools==1.71.2 protobuf==5.29.6 mypy-protobuf==3.6.0
	@touch $@
