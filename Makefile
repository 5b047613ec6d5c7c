# make demo | make test | make test-torch | make check | make bench | make contracts
# On a fresh machine (Python 3.11 with pip and venv, Node 20 with npm) each target installs what it needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
STAMP  := $(VENV)/.installed
DEBIAN := $(VENV)/.debian
NODE   := verifier_contracts/node_modules/.installed
SLITHER := verifier_contracts/build/slither-venv
export NUMBA_CACHE_DIR ?= $(CURDIR)/.numba_cache

.PHONY: demo test test-torch check lint bench contracts vectors tables clean

demo: $(STAMP) $(NODE)
	$(BIN)/vml demo

test: $(STAMP) $(NODE) $(DEBIAN) lint
	$(BIN)/python -m pytest -m "not slow and not torch"

test-torch: $(STAMP) $(VENV)/.torch
	$(BIN)/python -m pytest -m torch

check: $(STAMP) $(NODE) $(DEBIAN) $(SLITHER)/.installed lint
	$(BIN)/python -m pytest -m "not torch" --timeout 3600
	$(BIN)/python -m tests.mutate_verifiers

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks

contracts: $(NODE)
	npm --prefix verifier_contracts run --silent build
	npm --prefix verifier_contracts run --silent ship

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $@

# Exactly this version: any other pulls gigabytes of CUDA packages.
$(VENV)/.torch: $(STAMP)
	$(PIP) install -c constraints.txt -e ".[torch]"
	@touch $@

$(NODE): verifier_contracts/package-lock.json
	npm ci --prefix verifier_contracts --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# A database and a browser for the tests of the inference server. Where they are missing and nothing may be installed,
# those tests are skipped and say so.
$(DEBIAN): $(STAMP)
	@if command -v chromium >/dev/null && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  install="apt-get install -y -qq --no-install-recommends chromium postgresql"; export DEBIAN_FRONTEND=noninteractive; \
	  $$install >/dev/null || { apt-get update -qq && $$install >/dev/null; } || \
	    echo "chromium and postgresql could not be installed: tests that need them are skipped" >&2; \
	else echo "chromium and postgresql are not installed: tests that need them are skipped" >&2; fi
	@touch $@

# An environment of its own: slither pins an older web3.
$(SLITHER)/.installed: verifier_contracts/slither-requirements.txt
	$(PYTHON) -m venv $(SLITHER)
	$(SLITHER)/bin/pip --disable-pip-version-check -q install -r $<
	@touch $@

clean:
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .hypothesis .numba_cache
