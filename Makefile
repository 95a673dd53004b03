SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
REGISTRY ?=
VERSION ?=
PYTEST_ARGS ?=
CLIENTS ?=
VERSIONS ?= 1.33 1.37
export PYTHONPATH := $(CURDIR)/operator

.PHONY: help
help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

$(STAMP): tests/requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "python3 >= 3.11 is needed"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 >= 3.11 is needed, and this is older: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r tests/requirements.lock
	@touch $@

.PHONY: venv
venv: $(STAMP) ## Create .venv with every tool, from the hashed lock

.PHONY: check
check: venv verify promtool ## Lint, types, import contracts, unit, golden, property and contract tests (< 2 min)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/yamllint --strict .
	$(MAKE) --no-print-directory --jobs 2 types proofs

# Side by side: types keep one processor busy, and the last of the proofs do not need them all.
.PHONY: types proofs
types: venv
	$(BIN)/mypy

proofs: venv
	$(BIN)/python -m pytest -q -n auto --dist worksteal tests/unit tests/golden tests/contract tests/property $(PYTEST_ARGS)

.PHONY: promtool
promtool: ## Fetch promtool, which checks the chart's alerts, unless it is there
	@$(PYTHON) -m tests.contract.promtool

.PHONY: generate
generate: venv ## Write every generated file (CRD, chart copies, tables and pictures of operator/docs)
	$(BIN)/python -m tests.generate

.PHONY: verify
verify: venv ## Fail when a generated file is stale
	$(BIN)/python -m tests.generate --check

.PHONY: golden
golden: venv ## Rewrite the golden cases' expected files
	$(BIN)/python -m pytest -q tests/golden --rewrite-golden

.PHONY: format
format: venv ## Format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

.PHONY: lock
lock: venv ## Lock the dependencies with hashes
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links -q -o operator/requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --extra plugin --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links -q -o tests/requirements.lock

.PHONY: cluster
cluster: ## Start a local Kubernetes (kind with a container engine, else bare) or repair it
	@$(PYTHON) -m tests.localcluster up

.PHONY: cluster-down
cluster-down: ## Remove the local Kubernetes; nothing of it stays
	@$(PYTHON) -m tests.localcluster down

.PHONY: cluster-env
cluster-env: ## Print the shell lines that point kubectl at it: eval "$(make -s cluster-env)"
	@$(PYTHON) -m tests.localcluster env

.PHONY: image
image: ## Build the images
	@$(PYTHON) -m tests.localcluster.images build

.PHONY: push
push: ## Push the images: make image push REGISTRY=registry.example.com/team
	@$(PYTHON) -m tests.localcluster.images push "$(REGISTRY)"

.PHONY: release
release: venv ## The files of a release, in build/release: make release VERSION=1.2.3 REGISTRY=registry.example.com/team
	$(BIN)/python -m tests.release "$(VERSION)" "$(REGISTRY)"

.PHONY: push-chart
push-chart: venv ## Push the chart of build/release as an OCI artefact: make push-chart REGISTRY=registry.example.com/team
	$(BIN)/python -m tests.release.push "$(REGISTRY)"

.PHONY: deploy
deploy: cluster image ## Install the operator into the local cluster with Helm
	@$(PYTHON) -m tests.localcluster.deploy

.PHONY: demo
demo: ## The main job, end to end, on a real local cluster: 1,000 clients on 25 connections
	@$(PYTHON) -m tests.localcluster.demo

.PHONY: test
test: venv ## All tiers: check, the local cluster itself, real processes, control plane and cluster
	@$(PYTHON) -m tests.process.rootfs possible
	$(PYTHON) -m tests.localcluster down
	$(PYTHON) -m tests.localcluster build
	$(PYTHON) -m tests.localcluster build helm3 actionlint
	$(MAKE) check
	$(BIN)/python -m pytest -q tests/localcluster $(PYTEST_ARGS)
	$(BIN)/python -m pytest -q -n 4 --dist worksteal tests/simulated $(PYTEST_ARGS) # they wait for clocks more than they work
	$(PYTHON) -m tests.process.rootfs
	$(BIN)/python -m pytest -q tests/process $(PYTEST_ARGS)
	$(PYTHON) -m tests.localcluster up
	$(PYTHON) -m tests.localcluster.images build
	$(BIN)/python -m pytest -q tests/controlplane tests/cluster --ignore tests/cluster/test_nemesis.py $(PYTEST_ARGS)

# Installs npm, pip, Go, Maven, Cargo and Debian packages at their locked versions, which takes minutes, so it is no part of `make test` yet.
.PHONY: test-clients
test-clients: venv ## Real clients through a pool (Prisma, psycopg, JDBC, Rails …); CLIENTS=--rewrite-clients writes their results
	$(PYTHON) -m tests.process.rootfs
	$(BIN)/python -m tests.clients.tools
	$(BIN)/python -m pytest -q tests/clients $(CLIENTS) $(PYTEST_ARGS)

# Each minor takes 10 minutes to build the first time. The machine's cluster is taken down before and after.
.PHONY: test-versions
test-versions: venv ## The oldest and the newest supported Kubernetes: definitions, chart, README's proof, a roll under load
	for minor in $(VERSIONS); do \
	  export KUBERNETES=$$minor; \
	  $(PYTHON) -m tests.localcluster down; \
	  $(PYTHON) -m tests.localcluster up; \
	  $(PYTHON) -m tests.localcluster.images build; \
	  $(BIN)/python -m pytest -q tests/controlplane tests/cluster/test_quick_start.py tests/cluster/test_rolls.py $(PYTEST_ARGS); \
	  $(PYTHON) -m tests.localcluster down; \
	done

.PHONY: nemesis
nemesis: venv ## A hostile campaign: 60 clients, and people and machines at random (30 min; NEMESIS_MINUTES, NEMESIS_SEED)
	$(BIN)/python -m tests.nemesis

# Every kind of event once. It still meets faults that the table of promises.md names, so it is no part of `make test` yet.
.PHONY: nemesis-short
nemesis-short: venv cluster image ## The campaign's short form: each kind of event once, always in the same order (5 min)
	$(BIN)/python -m pytest -q tests/cluster/test_nemesis.py

.PHONY: simulate
simulate: venv ## Sizing against traces, beside what others do: a table, and plots in build/traces
	$(BIN)/python -m tests.traces

.PHONY: bench
bench: venv cluster image ## Side-by-side benchmarks (no timed asserts)
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.allocation
	$(BIN)/python -m tests.bench.servers
