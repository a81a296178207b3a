# Needs Python 3.10 or newer, make and a network. Another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
TESTS ?=
# Tests are spread over processes by file; all in one: make test PYTEST_ARGS=-n0
PYTEST_ARGS ?=
export KEEP
# Else each worker that a test starts compiles the package again, a third of its start.
unexport PYTHONDONTWRITEBYTECODE

PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
PYTEST = $(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)
# Tests marked `slow` run only when they are named, and in `make test-all`.
QUICK = -m "not slow"
# The tests that need no worker.
CHECKED = tests/values tests/executor tests/store
# What a version of PostgreSQL or Python can change: every statement, sessions that end in the middle of one, the language.
OF_VERSIONS = $(CHECKED) tests/api tests/doors/test_doctor.py tests/worker/test_outages.py tests/faults/test_calm.py \
	tests/faults/test_interleavings.py
PROJECT = setup.cfg pyproject.toml

.PHONY: check test test-all test-versions fuzz faults soak lint format demo bench bench-smoke bench-record \
	bench-publish bench-profile coverage differential celery-suite conformance surface lock clean

# Before a commit, in 90 seconds: lint, types, and the tests that need no worker, and no server for themselves.
check: lint
	$(PYTEST) $(or $(TESTS),$(QUICK) $(CHECKED) --ignore-glob='*/test_embedded*.py')

# In 6 minutes on two cores.
test: $(VENV)/.test
	$(PYTEST) $(or $(TESTS),$(QUICK))

# Each night.
test-all: $(VENV)/.test
	$(PYTEST) $(TESTS)

# Another PostgreSQL, and another Python in an environment of its own:
# make test-versions POSTGRES=/usr/lib/postgresql/15/bin PYTHON=python3.10 VENV=.venv-oldest
POSTGRES ?= $(LAVORO_TEST_POSTGRES)
test-versions: $(VENV)/.test
	LAVORO_TEST_POSTGRES=$(POSTGRES) $(PYTEST) $(or $(TESTS),$(QUICK) $(OF_VERSIONS))

# A failure is found again with the same number: Hypothesis goes through the same cases each time.
fuzz: $(VENV)/.test
	FUZZ_CASES=$(or $(CASES),100000) $(PYTEST) --timeout 7200 tests/fuzz tests/api/canvas/test_random.py

lint: $(VENV)/.lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(VENV)/.lint
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

# KEEP=1 leaves the demo running until Ctrl-C.
demo: $(VENV)/.demo
	$(VENV)/bin/python -m examples.flask_app.demo

# Everything takes about two hours: make bench ARGS="drain peers --repeat 5"
RESULTS ?= build/benchmarks
bench: $(VENV)/.bench
	@mkdir -p $(RESULTS)
	$(VENV)/bin/python -m benchmarks $(or $(ARGS),all --json $(RESULTS)/all.json)

bench-publish: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks.publish $(RESULTS)/*.json

bench-profile: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks.profile $(ARGS)

bench-smoke: $(VENV)/.test
	$(VENV)/bin/python -m benchmarks.smoke

# On a quiet machine, when a change of speed is meant.
bench-record: $(VENV)/.test
	$(VENV)/bin/python -m benchmarks.smoke --record

coverage: $(VENV)/.test
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest $(PYTEST_ARGS) $(TESTS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

# Everything in tests/faults, also what `make test` leaves out: make faults SEED=7 repeats a run. Without SEED it is new.
SEED ?= $(shell date +%s)
faults: $(VENV)/.test
	FAULTS_SEED=$(SEED) $(PYTEST) --timeout 600 $(or $(TESTS),tests/faults)

# An hour of all faults at once; the report goes to build/soak.md: make soak SEED=1 MINUTES=3 TASKS=10000
MINUTES ?= 60
TASKS ?= 1000000
soak: $(VENV)/.test
	$(VENV)/bin/python -m tests.faults.soak --seed $(SEED) --minutes $(MINUTES) --tasks $(TASKS)

# The programs of tests/differential on Celery and on Lavoro: make differential PROGRAMS="retries_*" ARGS="--pools solo --show"
PROGRAMS ?=
differential: $(VENV)/.test $(VENV)-celery/.done
	$(VENV)/bin/python -m tests.differential --celery $(VENV)-celery/bin/python $(ARGS) $(PROGRAMS)

# Celery's own unit tests on Lavoro: make celery-suite ARGS="t/unit/app/test_app.py -k pydantic -vv"
# Without ARGS also packages that use Celery.
celery-suite: $(VENV)-celery-suite/.done
	$(VENV)-celery-suite/bin/python -m tests.celery_suite $(ARGS)
	$(if $(ARGS),,$(VENV)-celery-suite/bin/python -m pytest -n0 -q tests/applications/packages.py)

# Celery's names and signatures into compat/celery/surface.json, and the table of compat/README.md.
surface: $(VENV)/.test $(VENV)-celery/.done
	$(VENV)-celery/bin/python -I compat/record_surface.py compat/celery/surface.json
	$(VENV)/bin/python compat/surface.py

# Celery's own integration tests on Lavoro, with a worker in the test process: make conformance POOL=prefork ARGS="-k chord"
POOL ?= threads
conformance: $(VENV)-celery-suite/.done
	$(VENV)-celery-suite/bin/python -m tests.conformance --pool $(POOL) $(ARGS)

# Newest versions into the lock files, for every Python the package supports.
lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --upgrade uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.10 --upgrade --no-header --no-annotate \
		setup.cfg --extra test --extra demo --output-file requirements/test.txt
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.10 --upgrade --no-header --no-annotate \
		setup.cfg --extra test --extra demo --extra lint --constraint requirements/test.txt \
		--output-file requirements/lint.txt
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.10 --upgrade --no-header --no-annotate \
		requirements/celery.in --output-file requirements/celery.txt
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.10 --upgrade --no-header --no-annotate \
		setup.cfg --extra test requirements/celery-suite.in --constraint requirements/test.txt \
		--output-file requirements/celery-suite.txt

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage .coverage.*
	find lavoro tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp says what is installed, so that pip runs only when a list of requirements has changed.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Lavoro needs Python 3.10 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.test: $(VENV)/.made requirements/test.txt $(PROJECT)
	$(PIP) -r requirements/test.txt -e '.[test,demo]'
	@touch $@

$(VENV)/.lint: $(VENV)/.made requirements/lint.txt $(PROJECT)
	$(PIP) -r requirements/lint.txt -e '.[test,demo,lint]'
	@touch $(VENV)/.test $@

$(VENV)/.bench: $(VENV)/.test
	$(PIP) --constraint requirements/test.txt -e '.[test,demo,bench]'
	@touch $@

$(VENV)/.demo: $(VENV)/.made requirements/test.txt $(PROJECT)
	$(PIP) --constraint requirements/test.txt -e '.[demo]'
	@touch $@

$(VENV)-celery/.done: requirements/celery.txt
	$(PYTHON) -m venv $(VENV)-celery
	$(VENV)-celery/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/celery.txt
	@touch $@

$(VENV)-celery-suite/.done: requirements/celery-suite.txt $(PROJECT)
	$(PYTHON) -m venv $(VENV)-celery-suite
	$(VENV)-celery-suite/bin/python -m pip install --quiet --disable-pip-version-check \
		-r requirements/celery-suite.txt -e '.[test]'
	@touch $@
