# One line per target. Each creates .venv if needed (Python 3.11 or newer and make are enough) and can be run again.
#   make PYTHON=python3.13 VENV=.venv-3.13 test    uses another interpreter, with an environment of its own

VENV ?= .venv
PORT ?= 8080
RUN = $(VENV)/bin/python -X utf8

# Tests and demo start many processes; without bytecode files each would compile functions/ again.
export PYTHONDONTWRITEBYTECODE :=

# Without this Hypothesis imports trio in every worker; nothing here is async.
export HYPOTHESIS_NO_PLUGINS := 1

.DEFAULT_GOAL := help
.PHONY: help setup test all-tests test-fast test-long test-manual mutate lint format demo run prove bench town fuzz audit lock release docs weight clean

help: ## list targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## create .venv with every package that running and testing needs
$(VENV)/.ready: requirements-dev.txt pyproject.toml tools/setup
	@PYTHON="$(PYTHON)" tools/setup $(VENV)

test: setup ## lint and run the tests on all cores, both at once: many tests mostly wait
	@$(MAKE) --no-print-directory --jobs=2 lint all-tests

all-tests: setup ## run the tests without lint
	$(RUN) -m pytest $(ARGS)

test-fast: setup ## run the fast tests only, as pre-push does
	$(RUN) -m pytest tests/domain tests/application tests/runtime tests/config $(ARGS)

test-long: setup ## run the long tests, in a quarter of an hour: other versions of RabbitMQ, more schedules and examples, a simulated day
	-@[ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || tools/brokers "$${BROKERS_FOLDER:-build/brokers}"
	$(RUN) -m pytest -m "(long or hypothesis) and not manual" --hypothesis-profile=long $(addprefix --ignore=tests/system/,town/test_town.py prometheus libraries) $(ARGS)

test-manual: setup ## run the tests that take hours: the town, Prometheus and client libraries on each version of RabbitMQ
	$(RUN) -m pytest -m "manual or long" -n 0 $(ARGS)

mutate: setup ## mutation testing: change 200 places of domain and application, one at a time, and list the changes that no test notices
	$(RUN) -m tools.mutate $(ARGS)

lint: setup ## check style, types and imports
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports --no-logo && $(RUN) -m tools.check_repository

format: setup ## fix style where a tool can
	$(VENV)/bin/ruff check --fix --exit-zero . && $(VENV)/bin/ruff format .

demo: setup ## watch a stuck queue being restarted on this machine, in under a minute
	$(RUN) -m demo $(ARGS)

run: setup ## serve the function with unstick.yaml (or UNSTICK_CONFIG) on 127.0.0.1:8080 (or PORT)
	@echo "next, in another terminal with the same environment: unstick send --example LABEL=VALUE... http://127.0.0.1:$(PORT)/ (docs/first-hour.md)"
	$(VENV)/bin/functions-framework --target webhook --host 127.0.0.1 --port $(PORT)

prove: setup ## simulate 100,000 schedules of crashes, stalls and races (SEED=n replays one)
	$(RUN) -m tests.simulation.run $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: setup ## run the benchmarks and write docs/benchmarks.md: an hour (ARGS='--only restart-time' 5 minutes)
	$(RUN) -m bench $(ARGS)

town: setup ## ninety applications on a real RabbitMQ, some with real client libraries, healthy and stuck: what Unstick does to each, after it has observed them (ARGS="--version 4.3 --minutes 30")
	$(RUN) -m tests.system.town $(ARGS)

fuzz: setup ## fuzz the parsers of untrusted input
	$(RUN) -m pip install --quiet --require-hashes -r requirements-fuzz.txt && $(RUN) -m tests.adapters.fuzz $(ARGS)

audit: setup ## check licences, secrets and known vulnerabilities, and write the SBOM to build/sbom.json
	VENV=$(VENV) tools/releases/audit $(ARGS)

lock: setup ## pin requirements*.in again (ARGS=--upgrade takes the newest versions)
	VENV=$(VENV) tools/releases/lock $(ARGS)

release: setup ## build the archive, SBOM and checksums of a release in build/release
	$(RUN) -m tools.releases.release

docs: setup ## regenerate the generated pages and pictures of docs/
	$(RUN) -m tools.docs.configuration_page && $(RUN) -m tools.docs.costs_page && $(RUN) -m tools.docs.gallery && $(RUN) -m pytest -q tests/system/project/test_docs.py

weight: setup ## measure code, tests, packages and docs against their limits, which lint keeps (ARGS='--base REV' compares)
	$(RUN) -m tools.weight $(ARGS)

clean: ## remove everything that make created
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
