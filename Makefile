# pgsearch: all that is done with this repository. `make` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# More options for pip. On Linux, PyPI's torch brings CUDA along; the CPU build is had with
#   make install PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) \
  --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv install demo test test-16 test-versions check format bench bench-migrate bench-sync bench-search bench-upgrade clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make .venv and install everything into it

venv: install

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "pgsearch needs Python 3.11 or newer; name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments;" \
	            "on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time takes some minutes."
	$(PIP_INSTALL) hatchling
	$(PIP_INSTALL) --no-build-isolation --editable ".[demo,dev]"
	touch $@

# Environments without models, for what depends on the versions of others: the oldest of all that
# pgsearch allows, and the newest but for SQLAlchemy, which is the newest 2.0.
integration = $(wildcard $(patsubst %,tests/integration/test_%.py,$(1)))

.venv-oldest/constraints.txt: constraints-oldest.txt
	mkdir -p $(@D) && cp $< $@

.venv-2.0/constraints.txt: constraints.txt
	mkdir -p $(@D) && sed 's/^SQLAlchemy==.*/SQLAlchemy==2.0.58/' $< > $@

.venv-%/.installed: .venv-%/constraints.txt pyproject.toml
	test -x $(@D)/bin/pip || $(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --constraint $< hatchling
	$(@D)/bin/pip install --quiet --disable-pip-version-check --constraint $< \
	  --no-build-isolation --editable ".[embedded]" asyncpg greenlet hypothesis pytest pytest-xdist
	touch $@

demo: install ## Show it all: migrate, load, embed, ask (pgsearch demo)
	$(BIN)/pgsearch demo

test: install ## Run all tests on PostgreSQL 18
	$(BIN)/pytest -n 2

test-16: install ## Run what asks PostgreSQL on PostgreSQL 16, but not the benches' tests
	$(BIN)/pytest -n 2 --postgres=16 --ignore=tests/unit --ignore=tests/acceptance/test_wheel.py \
	  --ignore-glob='tests/acceptance/test_bench_*'

test-versions: .venv-oldest/.installed .venv-2.0/.installed ## Test with older SQLAlchemy, Alembic, psycopg and others
	.venv-oldest/bin/pytest -n 2 tests/unit/test_declare.py $(call integration,autogenerate* install \
	  offline operations* search_orm* transactions)
	.venv-2.0/bin/pytest -n 2 $(call integration,autogenerate* search_orm*)

check: install ## Lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install ## Format, and repair what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install ## Measure search quality: make bench DATA=folder-in-BEIR-layout
	@test -n "$(DATA)" || { echo "Which collection? make bench DATA=path/to/scifact" >&2; exit 1; }
	$(BIN)/python -m bench.quality --data $(DATA)

bench-migrate: install ## Migrate forward and back under load, on 200,000 rows
	$(BIN)/python -m bench.migrate

bench-sync: install ## Measure the sync engine beside pgai's, COPY and the bare model
	$(BIN)/python -m bench.sync $(if $(DATA),--data $(DATA))

bench-search: install ## Measure searches of 200,000 and 1,000,000 documents beside SQL by hand and peers
	$(BIN)/python -m bench.search

bench-upgrade: install ## Measure what replacing a model costs the application that goes on meanwhile
	$(BIN)/python -m bench.upgrade

clean: ## Stop the embedded PostgreSQL (its data stays) and remove what make made
	@test ! -x $(BIN)/pgsearch || $(BIN)/pgsearch server stop
	rm -rf $(VENV) .venv-* build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
