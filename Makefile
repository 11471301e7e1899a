# `make help` lists the targets. Everything is installed into .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
UPSTASH_STAMP := tests/upstash/node_modules/.installed
UV := uv==0.13.9
# What the examples speak and are looked at with; no wheel brings them. Each package's program has its name.
DEBIAN := flite chromium

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo lab test debian workerd check lint mypy pyright docs bench oldest mutants soak lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' | while IFS='|' read -r name what; do \
	  printf '  make %-8s %s\n' "$$name" "$$what"; done

setup: $(STAMP) ## create .venv and install everything, pinned (instant when it is up to date)

$(STAMP): pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) not found: install Python 3.11 or later (Debian: apt install python3 python3-venv)," \
	    "or name one: make PYTHON=/path/to/python3.12 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "edgememory needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V 2>&1 | cut -d' ' -f2)." \
	    "Install one (Debian 12: apt install python3 python3-venv)," \
	    "or name one: make PYTHON=/path/to/python3.12 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments (venv or ensurepip is missing)." \
	    "Debian: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup ## the lab, two regions, few samples (three minutes): prints its tables, leaves build/lab/report.html
	@$(BIN)/edgememory lab --quick

lab: setup ## the lab, the whole world, 500 calls a scenario: some sixteen minutes
	@$(BIN)/edgememory lab

$(UPSTASH_STAMP): tests/upstash/package.json tests/upstash/package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null || { \
	  echo "node or npm not found: the tests run Cloudflare's runtime and Upstash's own client." \
	    "Install Node 20 or later (Debian: apt install nodejs npm)" >&2; exit 1; }
	cd tests/upstash && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

workerd: setup
	@$(BIN)/python -m edgememory.lab.servers.worker

debian: # never fails: what is missing is named again by the tests that are skipped for it
	@missing=; for package in $(DEBIAN); do command -v $$package >/dev/null || missing="$$missing $$package"; done; \
	  test -z "$$missing" && exit; \
	  if [ "$$(id -u)" = 0 ]; then as_root=; else as_root='sudo -n'; fi; \
	  if command -v apt-get >/dev/null && $$as_root true 2>/dev/null && $$as_root apt-get update -qq && \
	    $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends $$missing >/dev/null; \
	  then echo "installed:$$missing"; \
	  else echo "not installed:$$missing. Some tests of the examples are skipped (Debian: apt install$$missing)"; fi

test: setup $(UPSTASH_STAMP) workerd debian ## the whole suite, against real servers that it starts and stops itself
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadscope --ignore=tests/simulation -m "not spoken"
	$(BIN)/python -m pytest tests/simulation
	$(BIN)/python -m pytest tests/examples -m spoken

check: setup ## lint, format, types, documentation
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target pyright mypy lint docs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

mypy: setup
	$(BIN)/mypy

pyright: setup
	$(BIN)/pyright

docs: setup ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site

oldest: setup ## the tests of LiveKit, with the oldest version that pyproject.toml allows, in an environment of its own
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[livekit,lab,testing]' pytest-timeout \
	  "livekit-agents==$$(sed -n 's/^livekit = \["livekit-agents>=\([0-9.]*\),.*/\1/p' pyproject.toml).0"
	build/oldest/bin/python -m pytest tests/integration/livekit

bench: setup workerd ## ratios against plain code, and growth to 100,000 users: leaves build/bench.json
	@$(BIN)/python -m benchmarks

mutants: setup ## plant known bugs one by one; each must be caught
	@$(BIN)/python -m tests.mutants

soak: setup $(UPSTASH_STAMP) workerd ## 20,000 fresh worlds, 200 crash runs, an agent unplugged 50 times: some three hours
	$(BIN)/python -m tests.simulation --seeds 20000 --first $$(date +%s)
	$(BIN)/python -m pytest --hypothesis-profile=soak --timeout=0 tests/faults/test_crash_runs.py \
	  tests/faults/test_crash.py tests/stateful tests/simulation --ignore tests/simulation/test_simulation.py

lock: setup ## refresh requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-emit-index-url \
	  --no-annotate --all-extras --group dev --output-file requirements.lock pyproject.toml

clean: ## remove .venv, build/ and the tools' caches
	rm -rf .venv build tests/upstash/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
