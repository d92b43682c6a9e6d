# `make` alone lists the targets. Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
PORT ?= 3000
SCALE ?=
DATA ?=
FORMAT ?=
ROUNDS ?= 3
SIZES ?= 0.25,1,10
ONLY ?=
ROWS ?= 15193596
CUTS ?= 3
SECONDS ?= 600
SEED ?=
TESTS ?= pipeline_tests
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo demo-hosts ui test faults matrix bench bench-docs bench-scale incident check format lock stop clean
.SILENT:

help: ## List the targets
	sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-11s %s\n' "$$name" "$$text"; done

demo: $(STAMP) ## Load January's flights, then a damaged day while a worker is killed; print both balances
	$(BIN)/python -m pipeline.demo

demo-hosts: $(STAMP) ## Load a year of flights over two hosts with Ray, one of which is killed in mid-COPY (Linux)
	$(BIN)/python -m pipeline.demo_hosts

ui: $(STAMP) ## Open Dagster's UI on the same data, at http://127.0.0.1:3000 (make ui PORT=… for another)
	$(BIN)/python -c 'import socket; socket.create_server(("127.0.0.1", $(PORT)))' 2>/dev/null || { \
		echo "error: port $(PORT) is taken; try: make ui PORT=$$(($(PORT) + 1))" >&2; exit 1; }
	DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)}" PYTHONWARNINGS=ignore $(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

test: $(STAMP) ## Run all tests but the slow ones of `make faults`
	$(BIN)/pytest $(TESTS) -m 'not slow' --numprocesses 2 --dist worksteal

faults: $(STAMP) ## Run the slow fault tests, then random faults on random loads (make faults SECONDS=60 SEED=7 for other ones)
	$(BIN)/pytest pipeline_tests -m slow --numprocesses 2 --dist worksteal
	$(BIN)/python -m pipeline_tests.faults.nemesis --seconds $$(($(SECONDS) / 2)) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m pipeline_tests.faults.nemesis --seconds $$(($(SECONDS) / 4)) $(if $(SEED),--seed $(SEED)) --hosts 3
	$(BIN)/python -m pipeline_tests.faults.nemesis --seconds $$(($(SECONDS) / 4)) $(if $(SEED),--seed $(SEED)) --hosts 2 --engine local

matrix: $(STAMP) ## Run check and test on every Python and PostgreSQL found here (make matrix ARGS='--python 3.13 --versions lowest')
	$(BIN)/python -m pipeline_tests.matrix $(ARGS)

check: $(STAMP) ## Check format, lint, types, migrations and import layers
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	cd sql/migrations && { sha256sum --check --quiet SHA256SUMS || shasum -a 256 --check SHA256SUMS; } >/dev/null 2>&1 || { \
		echo "error: a migration was edited; restore it and write a new one, or list the new one in SHA256SUMS" >&2; exit 1; }
	$(BIN)/lint-imports --no-logo >$(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

format: $(STAMP) ## Format the code and fix what the linter can fix
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

bench: $(STAMP) ## Race the peers by format, 15 minutes (make bench DATA=trips FORMAT=csv,parquet ONLY=rowledger,psql SCALE=1 ROUNDS=1)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[bench]'
	export ROWLEDGER_HOME=.rowledger/bench; \
	ROWLEDGER_DATABASE_URL= $(BIN)/rowledger db destroy --yes >/dev/null; \
	$(BIN)/python -m benchmarks.race --rounds $(ROUNDS) $(if $(SCALE),--scale $(SCALE)) $(if $(DATA),--data $(DATA)) \
		$(if $(FORMAT),--format $(FORMAT)) $(if $(ONLY),--only $(ONLY)) $(BENCH_ARGS); status=$$?; \
	ROWLEDGER_DATABASE_URL= $(BIN)/rowledger db destroy --yes >/dev/null; exit $$status

bench-docs: BENCH_ARGS := --page docs/speed.md --chart docs/benchmark.svg
bench-docs: bench ## The same, and write its tables and its chart into docs/

bench-scale: $(STAMP) ## Measure how loads scale and what each part costs (make bench-scale SCALE=0.1 SIZES=0.05,0.2 ONLY=size,start)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[bench]'
	export ROWLEDGER_HOME=.rowledger/bench; \
	$(BIN)/python -m benchmarks.scale --scale $(or $(SCALE),1) --rounds $(ROUNDS) --sizes $(SIZES) $(if $(ONLY),--only $(ONLY)) \
		--json .rowledger/bench-scale.json || { status=$$?; ROWLEDGER_DATABASE_URL= $(BIN)/rowledger db stop; exit $$status; }; \
	ROWLEDGER_DATABASE_URL= $(BIN)/rowledger db destroy --yes

incident: $(STAMP) ## Replay the loss of the 198 rows (make incident ROWS=1000000 for a quick one; SEED=…, CUTS=…)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[bench]'
	export ROWLEDGER_DATABASE_URL= ROWLEDGER_HOME=.rowledger/incident; \
	$(BIN)/python -m benchmarks.incident --rows $(ROWS) $(if $(SEED),--seed $(SEED)) --cuts $(CUTS) || { \
		status=$$?; $(BIN)/rowledger db stop; exit $$status; }; \
	$(BIN)/rowledger db destroy --yes

lock: $(STAMP) ## Pin every dependency anew in requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra bench --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock

stop: ## Stop the embedded database
	if [ -x $(BIN)/rowledger ]; then ROWLEDGER_DATABASE_URL= $(BIN)/rowledger db stop; fi

clean: ## Delete the embedded database, the landed files, .venv and all caches
	if [ -x $(BIN)/rowledger ]; then ROWLEDGER_DATABASE_URL= $(BIN)/rowledger db destroy --yes; fi
	rm -rf .rowledger $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null || { \
		echo "error: Python 3.11 to 3.14 is needed, but $(PYTHON) is $$($(PYTHON) --version 2>&1); try: make PYTHON=python3.12" >&2; \
		exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "error: $(PYTHON) cannot make a virtual environment; on Debian install python3-venv" >&2; exit 1; }
	echo "installing into $(VENV); the first time takes a minute or two"
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	$(BIN)/python -m compileall -q rowledger pipeline pipeline_tests benchmarks # or each worker compiles them, where Python is told to write no bytecode
	touch $(STAMP)
