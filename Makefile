# Everything is installed from lock files into environments inside this checkout (.venv, .venv-*/); nothing outside is touched.
# PYTHON names the interpreter for a new environment: make test PYTHON=python3.13

PYTHON ?= python3
export PYTHON

BIN := .venv/bin
BUILD := requirements/build.txt pyproject.toml scripts/environment
BENCH_PEERS := gpuhunt vastai
CLIENTS := $(basename $(notdir $(wildcard tests/clients/requirements/*.in)))
TOOLS := $(basename $(notdir $(wildcard tests/deploy/requirements/*.in)))

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: .venv/.run ## the daemon against the built-in simulator, with troubles on; SECONDS=60 ends by itself with a summary
	@$(BIN)/shopperd demo $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: observe
observe: .venv/.run ## the demo, watched by a Prometheus with shopperd's rules and alerts; needs the prometheus program; SECONDS=60
	@$(BIN)/python scripts/observe $(if $(SECONDS),--seconds $(SECONDS))

# The workers must collect the same tests in the same order, also where a parameter is a set: hence the fixed hash seed.
.PHONY: test
test: .venv/.dev ## the tests; ARGS="-k sweep" is handed to pytest
	PYTHONHASHSEED=0 $(BIN)/pytest -m "not clients and not system and not deploy" -n auto --maxprocesses 4 $(ARGS)

.PHONY: test-system
test-system: .venv/.dev ## the daemon as a process: signals, crashes, bad stores; the slow ones too
	$(BIN)/pytest tests/system -n 2 --dist worksteal $(ARGS)

.PHONY: test-deploy
test-deploy: .venv/.dev $(TOOLS:%=.venv-deploy/%/.installed) ## what is deployed, with the real tools where there are such: Prometheus, systemd, Kubernetes' schemas, buildah, podman, Chromium
	PYTHONHASHSEED=0 $(BIN)/pytest -n 2 --dist loadfile tests/deploy tests/web/test_page_in_browser.py $(ARGS)

.PHONY: screenshots
screenshots: .venv/.dev .venv-deploy/pictures/dist/index.html ## docs/pictures anew, from a running demo; needs npm, chromium, prometheus and pngquant; ten minutes
	$(BIN)/python -m tests.deploy.pictures $(ARGS)

.PHONY: test-clients
test-clients: .venv/.dev $(CLIENTS:%=.venv-clients/%/.installed) ## the marketplaces' official and public clients against the simulator
	SHOPPERD_TEST_CLIENTS=required $(BIN)/pytest -m clients tests/clients $(ARGS)

.PHONY: bench
bench: .venv/.dev ## speed and memory against their targets, one JSON object a line; ARGS="market", or growth, large, month, soak
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.bench $(ARGS)

.PHONY: bench-peers
bench-peers: .venv/.dev $(BENCH_PEERS:%=.venv-clients/%/.installed) ## the same work by the peers' own code beside ours
	@$(BIN)/python -m tests.bench.peers

.PHONY: simulate
simulate: .venv/.dev ## the whole daemon in virtual time under random faults, crashes and clocks; SCHEDULES=1000 SEED=0
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation $(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: mutants
mutants: .venv/.dev ## other tools' bugs, put into copies of shopperd one by one: the tests must notice each; ARGS="-k create --jobs 4"
	@$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: prove
prove: .venv/.dev ## every order of events around the heart, deep, and a million random cases; minutes; ARGS="--transitions 1000000"
	PYTHONHASHSEED=0 $(BIN)/python -m tests.heart.prove $(ARGS)

.PHONY: lint
lint: .venv/.dev ## style, format, types and the house's import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases deploy tests/deploy tests/providers/pebble scripts/reference.py
	$(BIN)/lint-imports

.PHONY: format
format: .venv/.dev ## put the code into the house's format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: docs
docs: .venv/.dev ## write anew what the pages in docs/ take from the code: settings, metrics, the worked plug-in
	@$(BIN)/python -m scripts.reference

.PHONY: lock
lock: ## write the lock files anew from pyproject.toml; UPGRADE=1 takes the newest versions
	@UPGRADE=$(UPGRADE) scripts/lock

.PHONY: clean
clean: ## remove the environments, caches and builds of this checkout
	rm -rf .venv .venv-clients .venv-deploy .venv-lock build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find shopperd tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A mark is newer than what its environment was made from. The requirements of the tests include those of the run.
.venv/.dev: requirements/dev.txt $(BUILD)
	@scripts/environment --project .venv requirements/dev.txt
	@touch .venv/.run $@

.venv/.run: requirements/run.txt $(BUILD)
	@scripts/environment --project .venv requirements/run.txt requirements/build.txt
	@touch $@

.venv-clients/%/.installed: tests/clients/requirements/%.txt scripts/environment
	@scripts/environment .venv-clients/$* $<
	@touch $@

# Grafana's panels are half a gigabyte, for the pictures alone.
.venv-deploy/pictures/.installed: tests/deploy/pictures/package.json tests/deploy/pictures/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)
	npm ci --prefix $(@D) --legacy-peer-deps --ignore-scripts --no-audit --no-fund
	@touch $@

.venv-deploy/pictures/dist/index.html: .venv-deploy/pictures/.installed $(wildcard tests/deploy/pictures/*.jsx tests/deploy/pictures/*.js tests/deploy/pictures/*.html)
	@cp $(filter-out %/.installed,$^) .venv-deploy/pictures
	npm run build --prefix .venv-deploy/pictures

.venv-deploy/%/.installed: tests/deploy/requirements/%.txt scripts/environment
	@scripts/environment .venv-deploy/$* $<
	@touch $@
