# Everything a person or CI does here. Needs python3 (3.11 or later) and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What is installed, by lock: to run systems; to work on them; for the benchmarks.
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
NATIVE_STAMP := $(VENV)/.installed-native
BENCH_STAMP := $(VENV)/.installed-bench
NATIVE := $(shell find native -path '*/build' -prune -o -type f -print)
PYTEST := $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
# Hashes and no registry host: any index that has the files will do.
COMPILE := uv pip compile --generate-hashes --universal --no-header --python-version 3.11 --quiet
# The scripts in benchmarks/; the other modules there serve them.
BENCHES := cache cache_redis cache_traces encryption events exchange journal matching observe permissions queue \
	resilience saga search services shop tokens two_phase
# Tests on every processor, four at most: they share nothing. ARGS="-n0" for a debugger.
SPREAD := --numprocesses auto --maxprocesses 4
# Tests cut no real power: where memory has room, what they write needs no disk. It is kept of those that fail.
MEMORY := $(shell grep -qE '^[^ ]+ /dev/shm tmpfs rw' /proc/mounts 2>/dev/null && ! grep -qE '^[^ ]+ /dev/shm [^ ]+ [^ ]*noexec' /proc/mounts \
	&& test "$$(df -Pk /dev/shm | awk 'NR == 2 { print $$4 }')" -gt 4000000 && echo /dev/shm)
PYTEST += -o tmp_path_retention_policy=failed
export PYTEST_DEBUG_TEMPROOT ?= $(MEMORY)
# Two at a time, and where make can: what each says in one piece.
BOTH := -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync)
# More for pytest: make test ARGS="-k saga -x"
ARGS ?=
# The checker inside the wheel, on the node of a wheel: nothing is fetched at run time.
export PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT := 1
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# Modules are compiled once, not in each of the hundreds of processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup shop native test test-slow browser pictures check pyright others format bench lock sbom audit ci clean

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 | \2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

setup: $(DEV_STAMP) ## create .venv with all that working on Archstone needs (again when a lock changes)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Archstone needs Python 3.11 or later; $(PYTHON) is " + sys.version.split()[0] + ": put a newer one first on PATH, or say make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing from requirements.lock into $(VENV)"
	@$(PIP) install --require-hashes --no-deps -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): $(STAMP) requirements-dev.lock
	@echo "installing from requirements-dev.lock into $(VENV)"
	@# Most of it is never imported; what is, is compiled then.
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock --no-compile
	@touch $@

$(NATIVE_STAMP): $(DEV_STAMP) $(NATIVE)
	@if command -v c++ >/dev/null; then echo "building native/matching" && $(PIP) install --no-deps --no-build-isolation native/matching; \
	else echo "no C++ compiler here: the exchange runs on the engine in Python, and what tests the other is skipped"; fi
	@touch $@

$(BENCH_STAMP): $(DEV_STAMP) requirements-bench.lock
	@$(PIP) install --require-hashes --no-deps -r requirements-bench.lock
	@touch $@

shop: $(STAMP) ## start the shop: http://127.0.0.1:8080 (ctrl-c stops it; its data stays)
	@$(BIN)/archstone up shop

native: $(NATIVE_STAMP) ## build what is in C++ (needs a compiler)

test: $(NATIVE_STAMP) ## the test suite
	$(PYTEST) -m "not slow" $(SPREAD) --dist worksteal $(ARGS)

test-slow: $(NATIVE_STAMP) ## the long tests: crash, fuzzing, the shop in a browser (skipped without chromium)
	$(PYTEST) -m slow --ignore tests/browser $(SPREAD) --dist worksteal --durations 20 $(ARGS) || test $$? -eq 5
	@# A browser's times are measured: nothing else runs meanwhile.
	$(PYTEST) -m slow tests/browser $(ARGS) || test $$? -eq 5

browser: $(DEV_STAMP) ## only the tests of the shop in a browser
	$(PYTEST) tests/browser $(ARGS)

pictures: $(DEV_STAMP) ## the pictures of the shop in docs/images, anew (needs chromium)
	PYTHONPATH=tests/support:tests/browser $(BIN)/python docs/pictures.py

check: $(DEV_STAMP) ## lint, format, types, import layers, names that must not be committed
	@$(MAKE) --no-print-directory $(BOTH) pyright others

pyright:
	$(BIN)/pyright

others:
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/security/supply.py hashes requirements.lock requirements-dev.lock requirements-bench.lock
	$(BIN)/python -m archstone.data.lint src examples
	@# A registry host or a path of one machine; written so that this line does not match itself.
	@! git grep -nIE 'pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian|[ "'\''(=]/(work|root|home)[/]' || \
		{ echo 'the files above name a registry host or a path of one machine'; exit 1; }

format: $(DEV_STAMP) ## format the code and apply the safe fixes of the linter
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(BENCH_STAMP) ## run every benchmark beside its peers (QUICK=1 for a smoke test)
	@for block in $(BENCHES); do $(BIN)/python -m "benchmarks.$$block" $(if $(QUICK),--quick) || exit 1; done

lock: ## compile the lock files anew (needs uv)
	$(COMPILE) --extra systems --group dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --extra systems --group build -c requirements-dev.lock pyproject.toml -o requirements.lock
	$(COMPILE) --extra bench -c requirements-dev.lock pyproject.toml -o requirements-bench.lock

sbom: $(DEV_STAMP) ## list what a system is made of: dist/archstone.cdx.json (CycloneDX)
	$(BIN)/python docs/security/supply.py sbom dist/archstone.cdx.json requirements.lock

audit: $(DEV_STAMP) ## look for known vulnerabilities: ADVISORIES=a copy of the PyPA advisory database
	$(BIN)/python docs/security/supply.py audit "$(ADVISORIES)" requirements.lock requirements-dev.lock requirements-bench.lock

ci: check test test-slow ## what CI does

clean: ## remove caches and builds; .venv and the data of systems stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
