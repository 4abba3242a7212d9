# Thin: sets up .venv from the locks, then hands over. The work is in `broker demo` and in pytest.
# Needs Python 3.11 or newer; `make test` looks for headless Chromium too, and fetches it where there is none.

SHELL := /bin/bash
BIN := .venv/bin
REAL := tests/providers_real
CHART := tests/chart
IMAGE := tests/image
PROXIES := tests/proxies
QUIET := tests/benchmarks/test_ratios.py tests/hostile/test_overload.py
HEAVY := $(CHART) $(IMAGE) $(PROXIES) $(REAL) $(addprefix tests/,benchmarks browser chaos emulators fuzz hostile)
PEERS := tests/benchmarks/peers/node
ARGS ?=
SECONDS ?= 20

.PHONY: bench bench-prepare bench-units bench-wheel chaos coverage demo test test-chart test-image test-proxies test-quiet chart-table tables fuzz lint format texts lock clean prepare
.DEFAULT_GOAL := demo

# In the foreground of a terminal the demo gets a process group of its own, so that Ctrl-C ends the demo and does not break off make.
IN_FOREGROUND = $(BIN)/python -c 'import os, sys; sys.exit(os.getpgrp() != os.tcgetpgrp(0))' 2>/dev/null
demo: .venv/.demo
	@if $(IN_FOREGROUND); then set -m; $(BIN)/broker demo $(ARGS); else exec $(BIN)/broker demo $(ARGS); fi

test: lint prepare $(REAL)/node_modules/.installed
	@$(BIN)/python -m pytest --ignore $(CHART) --ignore $(IMAGE) --ignore $(PROXIES) $(QUIET:%=--ignore %) --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

# Measures coverage of the tests without browser, load or other products: measuring makes the broker 1.5 times slower.
coverage: .venv/.test
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(HEAVY:%=--ignore %) --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

# The Helm chart: rendered, judged, and installed into an API in memory.
test-chart: .venv/.test .venv-chart/.installed $(CHART)/node_modules/.installed
	@$(CHART)/prepare.sh
	@$(BIN)/pytest $(CHART) --numprocesses auto --maxprocesses 4 --dist loadscope $(ARGS)

# Writes the table of values in helm/README.md, and helm/values.schema.json, anew.
chart-table: .venv/.test $(CHART)/node_modules/.installed
	@$(BIN)/python -m tests.chart.values_schema
	@$(BIN)/node $(CHART)/node_modules/@bitnami/readme-generator-for-helm/bin/index.js --values helm/values.yaml --readme helm/README.md >/dev/null

# Builds the image without a registry and runs it as a cluster does. Needs root: nobody else may bound a container's memory.
test-image: .venv/.test
	@$(IMAGE)/prepare.sh
	@$(BIN)/python -m pytest $(IMAGE) $(ARGS)

# Puts nginx, HAProxy and Caddy in front of the broker, and attacks it while 200 people sign in;
# then restarts two units behind each proxy (docs/admin/high-availability.md); prints the figures.
test-proxies: .venv/.test
	@$(PROXIES)/prepare.sh
	@$(BIN)/python -m pytest $(PROXIES) -rP --show-capture=stdout $(ARGS)

# Tests that measure time: the short run of the benchmark, and people beside a crowd. Let the machine rest.
test-quiet: .venv/.test
	@$(BIN)/python -m pytest $(QUIET) $(ARGS)

# Measures the broker beside other products and writes docs/performance.md. Takes a quarter of an hour; let the machine rest.
bench: bench-prepare
	@$(BIN)/python -m tests.benchmarks.run $(ARGS)

# Measures two units of the broker behind nginx against one, and restarts them under load (docs/admin/high-availability.md).
bench-units: bench-prepare
	@$(PROXIES)/prepare.sh
	@$(BIN)/python -m tests.benchmarks.units $(ARGS)

# Makes providers, proxies, replicas, clocks and logs fail while people sign in, and writes docs/reliability.md. Takes 40
# minutes; let the machine rest. ARGS="--rows '^2 '" measures some rows, ARGS=--list names them.
chaos: .venv/.test bench-wheel
	@$(PROXIES)/prepare.sh nginx haproxy
	@tests/prepare.sh compiler
	@$(BIN)/python -m tests.chaos.run $(ARGS)

bench-prepare: bench-wheel
	@tests/benchmarks/prepare.sh

bench-wheel: .venv/.test .venv-bench/.installed
	@rm -rf build/wheel
	@out=$$($(BIN)/python -m hatchling build --target wheel --directory build/wheel 2>&1) || { echo "$$out"; exit 1; }
	@$(BENCH_INSTALL) --no-deps --reinstall build/wheel/*.whl

# Writes what is said first about each misconfiguration to build/misconfigurations.md.
tables: .venv/.test
	@$(BIN)/python -m tests.misconfigurations.table

# SECONDS for each parser; a crash leaves its input in tests/fuzz/corpus, where `make test` finds it from then on.
fuzz: .venv/.fuzz
	@$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) $(ARGS)

lint: .venv/.test
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy --no-error-summary
	@out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }

format: .venv/.test
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format --quiet

# Brings the catalogues in broker/web/locale up to date and compiles them; new texts come in untranslated, and the
# tests say which.
texts: .venv/.test
	@$(BIN)/python -m tests.catalogues

# The test lock holds everything; the next three take its versions, so that one .venv serves the demo and the tests.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	--no-emit-index-url pyproject.toml
lock: .venv/.test
	@$(COMPILE) --upgrade --extra demo --group test --output-file requirements-test.lock
	@$(COMPILE) --constraint requirements-test.lock --extra demo --group build --output-file requirements-demo.lock
	@$(COMPILE) --constraint requirements-test.lock --output-file requirements.lock
	@$(COMPILE:pyproject.toml=) --constraint requirements-test.lock --group build --output-file requirements-build.lock
	@$(COMPILE:pyproject.toml=) --constraint requirements-test.lock --group image --output-file requirements-image.lock
	@$(COMPILE:pyproject.toml=) --upgrade --group fuzz --output-file requirements-fuzz.lock
	@$(COMPILE:pyproject.toml=) --upgrade --group chart --output-file requirements-chart.lock
	@for folder in $(REAL) $(CHART) $(PEERS); do \
	    (cd $$folder && PATH="$(CURDIR)/$(BIN):$$PATH" npm update --package-lock-only --loglevel=error) || exit 1; done

clean:
	@rm -rf .venv .venv-bench .venv-chart .coverage .coverage.* .hypothesis .image .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist \
	    $(REAL)/node_modules $(CHART)/node_modules $(PEERS)/node_modules

# ---------------------------------------------------------------------------------------------------------- setting up

.venv/.made:
	@python=; for candidate in python3.14 python3.13 python3.12 python3.11 python3; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Python 3.11 or newer is needed and none was found: install it, then run make again." >&2; exit 1; fi; \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	    echo "$$python lacks its venv module: install it (Debian: apt-get install python3-venv), then run make again." >&2; exit 1; fi; \
	$$python -m venv --clear .venv
	@touch $@

# --only-binary: a source package would fetch build tools that no lock knows.
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
.venv/.demo .venv/.test: .venv/.%: .venv/.made requirements-%.lock pyproject.toml
	@$(INSTALL) --require-hashes --only-binary=:all: -r requirements-$*.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.fuzz: .venv/.test requirements-fuzz.lock
	@$(INSTALL) --require-hashes --only-binary=:all: -r requirements-fuzz.lock
	@touch $@

# Of its own: checkov pins versions of what the tests have newer.
.venv-chart/.installed: .venv/.made requirements-chart.lock
	@$(BIN)/python -m venv --clear .venv-chart
	@.venv-chart/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes --only-binary=:all: -r requirements-chart.lock
	@touch $@

# As in the image: from the lock and the wheel, compiled. Debian's Python is built with profile-guided optimisation.
BENCH_INSTALL = $(BIN)/uv pip install --quiet --python .venv-bench/bin/python --compile-bytecode
.venv-bench/.installed: .venv/.test requirements.lock
	@python=/usr/bin/python3.11; [ -x $$python ] || python=$(BIN)/python; $(BIN)/uv venv --quiet --clear --python $$python .venv-bench
	@$(BENCH_INSTALL) --require-hashes --only-binary :all: --requirement requirements.lock
	@touch $@

prepare: .venv/.test
	@tests/prepare.sh

$(REAL)/node_modules/.installed $(CHART)/node_modules/.installed: %/node_modules/.installed: %/package.json %/package-lock.json | prepare
	@cd $* && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --loglevel=error >/dev/null
	@touch $@
