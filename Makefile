# Thin: sets up .venv from the locks, then hands over. The work is in `broker demo` and in pytest.
# Needs Python 3.11 or newer and, for `make test`, headless Chromium, which it looks for and else fetches.

SHELL := /bin/bash
BIN := .venv/bin
REAL := tests/providers_real
ARGS ?=

.PHONY: demo test lint format lock clean chromium
.DEFAULT_GOAL := demo

# In the foreground of a terminal the demo gets a process group of its own, so that Ctrl-C ends the demo and does not break off make.
IN_FOREGROUND = $(BIN)/python -c 'import os, sys; sys.exit(os.getpgrp() != os.tcgetpgrp(0))' 2>/dev/null
demo: .venv/.demo
	@if $(IN_FOREGROUND); then set -m; $(BIN)/broker demo $(ARGS); else exec $(BIN)/broker demo $(ARGS); fi

test: lint $(REAL)/node_modules/.installed chromium
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: .venv/.test
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy --no-error-summary
	@out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }

format: .venv/.test
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format --quiet

# The test lock holds everything; the other two take its versions, so that one .venv serves the demo and the tests.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	--no-emit-index-url pyproject.toml
lock: .venv/.test
	@$(COMPILE) --upgrade --extra demo --group test --output-file requirements-test.lock
	@$(COMPILE) --constraint requirements-test.lock --extra demo --group build --output-file requirements-demo.lock
	@$(COMPILE) --constraint requirements-test.lock --output-file requirements.lock
	@cd $(REAL) && PATH="$(CURDIR)/$(BIN):$$PATH" npm update --package-lock-only --loglevel=error

clean:
	@rm -rf .venv .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist $(REAL)/node_modules

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

$(REAL)/node_modules/.installed: .venv/.test $(REAL)/package.json $(REAL)/package-lock.json
	@cd $(REAL) && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --loglevel=error >/dev/null
	@touch $@

# Installed already, else Debian's package where we may install it, else Playwright's own download.
chromium: .venv/.test
	@for name in chromium chromium-browser google-chrome; do $$name --version >/dev/null 2>&1 && exit 0; done; \
	own=$$($(BIN)/python -c 'from playwright.sync_api import sync_playwright as it; p = it().start(); \
	    print(p.chromium.executable_path); p.stop()'); \
	[ -x "$$own" ] && exit 0; \
	may=; if [ "$$(id -u)" != 0 ]; then may="sudo -n"; fi; \
	if grep -qs '^ID=debian' /etc/os-release && $$may true 2>/dev/null; then \
	    ($$may apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$may apt-get -qq install --no-install-recommends chromium) >/dev/null 2>&1 \
	        && exit 0; \
	fi; \
	$(BIN)/playwright install --no-shell chromium >/dev/null 2>&1 && exit 0; \
	echo "The browser tests need headless Chromium, and neither apt-get nor Playwright could install it: install Chromium, then run make test again." >&2; \
	exit 1
