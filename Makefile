# Everything Stackpin needs, from a bare Debian 12/13 or Ubuntu 24.04 machine (as root for the lab).
#   make demo       the CRM's story on a real host of your own machine (demo-fleet, demo-infracore; demo-all)
#   make test       lint, types, unit, lab (real hosts) and browser tests; test-long: the longest ones
#   make test-fast  lint, types and unit tests only: no host, under a minute on two cores
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB_PACKAGES := debootstrap systemd-container iptables iproute2 openssh-client openssl git
TEST_PACKAGES := chromium chromium-driver
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start Python some hundred times: what it compiles is kept, wherever that is switched off.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup system browser artifacts test test-fast ruff mypy unit-host unit-made unit-real \
  unit-rest test-lab test-long test-browser demo demo-fleet demo-infracore demo-all bench lock clean

help:
	@sed -n '2,4s/^# *//p' Makefile

# --- set-up, cached between runs ------------------------------------------------------------
setup: $(VENV)/.ready

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@echo "setting up $(VENV): a minute or two, once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=..."; exit 3; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || tools/apt-install python3-venv
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --require-hashes -r requirements-dev.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

system:
	@tools/apt-install $(LAB_PACKAGES)

browser:
	@tools/apt-install $(TEST_PACKAGES)

artifacts: setup
	@$(BIN)/python -m stackpin.lab.apps.crm.build --out artifacts/crm
	@$(BIN)/python -m stackpin.lab.apps.infracore.build --out artifacts/infracore

# --- checks -----------------------------------------------------------------------------------
# Side by side, each printed whole when it ends: linters, types and the unit tests in four parts.
FAST := ruff mypy unit-host unit-made unit-real unit-rest
test-fast: setup
	@$(MAKE) --no-print-directory -j6 --output-sync=target $(FAST)

ruff: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

mypy: setup
	$(BIN)/mypy

# In one process each: gevent, which pyinfra needs, does not suit xdist's workers.
# The parts take about the same time: the programs that run on hosts, what is made by real builds
# and what talks to real processes and servers, which wait while others work, and everything else.
UNIT := $(wildcard tests/unit/test_*.py)
HOST := $(wildcard $(addprefix tests/unit/test_,host_*.py crm_*.py))
MADE := $(wildcard $(addprefix tests/unit/test_,artifacts_*.py infracore_*.py))
REAL := $(wildcard $(addprefix tests/unit/test_,fleet_facts.py load.py notify.py pin_*.py \
  registry_*.py rollout_lease.py signals.py))
unit-host: setup
	$(BIN)/pytest -q $(HOST)

unit-made: setup
	$(BIN)/pytest -q $(MADE)

unit-real: setup
	$(BIN)/pytest -q $(REAL)

unit-rest: setup
	$(BIN)/pytest -q $(filter-out $(HOST) $(MADE) $(REAL),$(UNIT))

# Lab tests mostly wait for gates and timers: four files at once, each with hosts of its own.
PARALLEL := -n 4 --dist loadfile --no-loadscope-reorder --durations=15

test-lab: setup system browser artifacts
	$(BIN)/pytest -q $(PARALLEL) -m "not long" tests/lab

# Whole fleets, and InfraCore's services, through every fault: up to 24 hosts at once.
test-long: setup system artifacts
	$(BIN)/pytest -q $(PARALLEL) -m long tests/lab

test-browser: setup browser
	$(BIN)/pytest -q tests/browser

test: test-fast system browser artifacts
	$(BIN)/pytest -q tests/browser
	$(BIN)/pytest -q $(PARALLEL) -m "not long" tests/lab

demo: setup system artifacts
	@$(BIN)/python -m stackpin.lab.demo

demo-fleet: setup system
	@$(BIN)/python -m stackpin.lab.demo --act fleet

demo-infracore: setup system artifacts
	@$(BIN)/python -m stackpin.lab.demo --act infracore

demo-all: setup system artifacts
	@$(BIN)/python -m stackpin.lab.demo --act all

# ONLY=NAME measures one: site, peers, fleet_gap, infracore_gap, scaling or fleet_simulated.
bench: setup system artifacts
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

# --- upkeep -----------------------------------------------------------------------------------
# Needs uv (https://docs.astral.sh/uv/). No index address is written into the lock files.
LOCK := uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
lock:
	$(LOCK) -o requirements.lock
	$(LOCK) --extra dev -o requirements-dev.lock

clean:
	rm -rf $(VENV) artifacts .cache .mypy_cache .pytest_cache .ruff_cache
