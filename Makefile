# `make help` lists the targets. On Windows, README.md gives the same commands without make.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
DEMO := demo
# Kerberos' packages have no wheels for Linux: they are built where libkrb5's headers and a compiler are.
KERBEROS := $(shell command -v krb5-config >/dev/null 2>&1 && command -v $${CC:-gcc} >/dev/null 2>&1 && echo ,kerberos)

.DEFAULT_GOAL := help
.PHONY: help setup fmt lint type arch test test-fast demo lab golden jea docs faults fuzz crash fleet bench bench-quick bench-store bench-rules bench-hub wheel-check readme-check ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("rmm needs Python 3.11 or later; try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing rmm into $(VENV) ..."
	@$(RUN) pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' 2>/dev/null
	@test -z '$(KERBEROS)' || echo 'with Kerberos, whose packages are compiled the first time (1 to 3 minutes)'
	@$(RUN) pip install --quiet --disable-pip-version-check --editable '.[ssh,speed,check,credssp$(KERBEROS)]' 2>$(VENV)/pip.log || { cat $(VENV)/pip.log; exit 1; }
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing the tools for tests and checks ..."
	@$(RUN) pip install --quiet --disable-pip-version-check --group dev 2>$(VENV)/pip.log || { cat $(VENV)/pip.log; exit 1; }
	@touch $@

setup: $(VENV)/.dev ## make the environment: rmm, its extras and the tools

demo: $(VENV)/.runtime ## a lab fleet of 200 endpoints, polled twice: status, alerts, report
	@$(BIN)/rmm lab demo --endpoints 200 --config $(DEMO)

lab: $(VENV)/.runtime ## a lab fleet of 200 endpoints until Ctrl-C, with its configuration in ./demo
	@$(BIN)/rmm lab up --endpoints 200 --config $(DEMO)

test: $(VENV)/.dev ## all tests: two at a time those that may, then the others
	@failed=0; $(RUN) pytest -q -n 2 --dist loadfile -m together || failed=1; $(RUN) pytest -q -m 'not together' || failed=1; exit $$failed

test-fast: $(VENV)/.dev ## the tests that take seconds
	@$(RUN) pytest -q -m 'not slow and not crash'

fmt: $(VENV)/.dev ## format and sort imports
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lint: $(VENV)/.dev ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: $(VENV)/.dev ## mypy --strict, as on Linux and as on Windows
	@$(BIN)/mypy --platform linux && $(BIN)/mypy --platform win32 rmm

arch: $(VENV)/.dev ## import-linter: layers and forbidden imports
	@$(BIN)/lint-imports

golden: $(VENV)/.dev ## make the collectors' expected readings and pages anew; read the difference before you commit it
	@$(RUN) rmm.catalog.golden

jea: $(VENV)/.dev ## make config/jea, the JEA profile of the shipped collectors, anew
	@$(BIN)/rmm collector jea --out config/jea >/dev/null

docs: $(VENV)/.dev ## make docs/commands.md and the collectors' pages anew
	@$(BIN)/python docs/generate.py

faults: $(VENV)/.dev ## the catalogue of field failures, each shown by the lab: row, scenario, expected, seen
	@$(BIN)/python tests/failures

fuzz: $(VENV)/.dev ## hostile input for every decoder: 20,000 inputs, or N=1000000; SEED=... has those of an earlier run again
	@$(RUN) tests.fuzz --inputs $(or $(N),20000) $(if $(SEED),--seed $(SEED)) $(FAULTS)

crash: $(VENV)/.dev ## kills and losses of power at every moment, bit flips, clock steps, full disks (docs/crash.md)
	@$(RUN) tests.crash $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(FAULTS)

fleet: $(VENV)/.dev ## hub, broker and 50 sites as processes, broken in every way for 10 minutes (SITES=, COLLECTORS=, MINUTES=, SEED=; FAULTS='--kills 200 --postgres' or '--outage 600')
	@$(RUN) tests.fleet $(if $(SITES),--sites $(SITES)) $(if $(COLLECTORS),--collectors $(COLLECTORS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(FAULTS)

bench: $(VENV)/.dev ## the benchmarks of docs/benchmarks.md, with pypsrp and pywinrm in the same run (about 20 minutes)
	@$(RUN) bench

bench-quick: $(VENV)/.dev ## the same, small: wrong orders of magnitude show, nothing else
	@$(RUN) bench --quick

bench-rules: $(VENV)/.dev ## what a round of 10,000 endpoints costs, and a rule over 30 days of 1,000 (about 30 minutes)
	@$(RUN) bench.rules

bench-store: $(VENV)/.dev ## the cold tier beside a narrow table, on the same samples (about 10 minutes)
	@$(RUN) bench.store --endpoints 150 --days 8
	@$(RUN) bench.store --endpoints 20 --days 30

bench-hub: $(VENV)/.dev ## what the hub costs for each observation: 10,000 endpoints at fifty sites, two hours of theirs (about 10 minutes)
	@$(RUN) bench.hub --broker
	@$(RUN) bench.hub
	@$(RUN) bench.hub --endpoints 2000 --sites 10 --rounds 3 --typical

wheel-check: $(VENV)/.dev ## build the wheel, install it in a clean environment, run it
	@$(BIN)/python .ci/wheel_check.py

readme-check: $(VENV)/.dev ## run the commands of README.md
	@$(BIN)/python .ci/readme_check.py

ci: ## what runs before a change lands
	@bash .ci/run

clean: ## remove what can be made again (never data/)
	rm -rf $(VENV) dist build $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
