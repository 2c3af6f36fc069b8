# One command each: run, test, lint, bench. What is missing is installed first, from locked and hashed requirements.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Options for `fleet up`, for instance: make run ARGS="--http-port 8081"
ARGS ?=
# Processes that test side by side: most tests wait for a broker, a database or a worker.
TESTERS ?= 2
# Packages the tests use when they are there. Installed only by root and only where apt is.
TEST_PACKAGES := mosquitto debootstrap chromium

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options
export CUSTOM_COMPILE_COMMAND := make lock

.DEFAULT_GOAL := help
# What the pages are built from; make builds them when one of these is newer.
PAGE_SOURCES := $(shell find web/src web/public web/index.html web/*.json web/*.ts web/build.sh incidents/i18n -type f)

.PHONY: help run test lint bench lock clean test-packages pages schema pictures

help:
	@echo "make run     everything on this machine with demo traffic; prints the address"
	@echo "make test    install what the tests need and run them all"
	@echo "make lint    formatter, linter and type checker"
	@echo "make bench   speed, as ratios measured in one run"
	@echo "make pages   build the pages into fleet_api/web; run and test do it when they must"
	@echo "make schema  write the pages' types of the API anew"
	@echo "make pictures   take the pictures of docs/images anew"
	@echo "make lock    write the requirements files anew"
	@echo "make clean   remove the environment and caches, never data"

run: $(VENV)/.installed-runtime fleet_api/web/index.html
	@$(BIN)/fleet up $(ARGS)

# Nothing after pytest, so that its closing line is the last.
test: $(VENV)/.installed-dev test-packages fleet_api/web/index.html
	@$(BIN)/python -m pytest -n $(TESTERS) --dist worksteal $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.installed-runtime
	$(BIN)/fleet bench ingest $(ARGS)
	@if PATH=$$PATH:/usr/sbin command -v mosquitto >/dev/null; then \
		echo "$(BIN)/fleet bench ingest --broker mosquitto $(ARGS)"; $(BIN)/fleet bench ingest --broker mosquitto $(ARGS); \
	else echo "mosquitto is not installed: not measured"; fi
	$(BIN)/fleet bench live
	$(BIN)/fleet bench detect

pages: fleet_api/web/index.html

fleet_api/web/index.html: $(PAGE_SOURCES) | $(VENV)/.installed-runtime
	@echo "building the pages"
	@PYTHON=$(CURDIR)/$(BIN)/python web/build.sh

schema: $(VENV)/.installed-runtime
	@PYTHON=$(CURDIR)/$(BIN)/python web/build.sh schema

pictures: $(VENV)/.installed-dev test-packages fleet_api/web/index.html
	@$(BIN)/python -m tests.pictures

lock: $(VENV)/.installed-dev
	$(COMPILE) --output-file requirements/runtime.txt pyproject.toml
	$(COMPILE) --output-file requirements/dev.txt --extra dev -c requirements/runtime.txt pyproject.toml
	$(COMPILE) --output-file requirements/build.txt -c requirements/dev.txt requirements/build.in
	$(COMPILE) --output-file requirements/pages.txt -c requirements/dev.txt requirements/pages.in

clean:
	rm -rf $(VENV) web/node_modules fleet_api/web .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Error: $(PYTHON) is not installed"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Error: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3.11"; exit 1; }
	@# Debian keeps ensurepip in a package of its own.
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null; \
		else \
			echo "Error: Python's venv is missing; install it with: apt-get install python3-venv"; exit 1; \
		fi; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-runtime: requirements/runtime.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "installing what runs"
	@$(PIP) install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed-runtime
	@echo "installing what tests and checks"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

# RUNLEVEL=1 keeps the package from starting a broker of its own.
test-packages:
	@missing=""; for name in $(TEST_PACKAGES); do \
		PATH="$$PATH:/usr/sbin:/sbin" command -v $$name >/dev/null || missing="$$missing $$name"; done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing$$missing"; \
			apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
				apt-get -qq install -y --no-install-recommends $$missing >/dev/null || \
				echo "could not install$$missing: the tests that need it are skipped"; \
		else \
			echo "not installed:$$missing; the tests that need it are skipped (as root, make test installs it)"; \
		fi; \
	fi
