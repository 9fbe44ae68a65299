# One line a target. Each makes .venv by itself on a fresh machine with Python 3.11 and make, and may be called twice.
#   make PYTHON=python3.13 VENV=.venv-3.13 test    takes another interpreter, with an environment of its own

VENV ?= .venv
PORT ?= 8080
RUN = $(VENV)/bin/python -X utf8

# Tests and demo start many processes; each would compile all of functions/ again.
export PYTHONDONTWRITEBYTECODE :=

# Hypothesis would import trio in each worker; nothing here is async.
export HYPOTHESIS_NO_PLUGINS := 1

.DEFAULT_GOAL := help
.PHONY: help setup test test-long mutate lint format demo run prove bench soak fuzz audit lock deploy plan check rollback destroy release docs clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## make .venv with all that running and testing needs
$(VENV)/.ready: requirements-dev.txt tools/setup
	@PYTHON="$(PYTHON)" tools/setup $(VENV)

test: lint ## check style and types, and run the tests on all cores
	$(RUN) -m pytest $(ARGS)

test-long: setup ## the tests that take minutes: more schedules and examples, a simulated day
	$(RUN) -m pytest -m "long or hypothesis" --hypothesis-profile=long $(ARGS)

mutate: setup ## test the tests: change the code in 300 places, one at a time, and print what no test notices
	$(RUN) tools/mutate.py $(ARGS)

lint: setup ## check style and types
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports --no-logo

format: setup ## put style right where that can be done by a tool
	$(VENV)/bin/ruff check --fix --exit-zero . && $(VENV)/bin/ruff format .

demo: setup ## see a stuck queue restarted, on this machine, in under a minute
	$(RUN) -m demo $(ARGS)

run: setup ## serve the function with unstick.yaml (or UNSTICK_CONFIG) on 127.0.0.1:8080 (or PORT)
	@echo "next, in another terminal with the same environment (docs/first-hour.md): python -m functions send --example http://127.0.0.1:$(PORT)/"
	$(VENV)/bin/functions-framework --target webhook --host 127.0.0.1 --port $(PORT)

prove: setup ## 100,000 schedules of crashes, stalls and races without a violation (SEED=n replays one)
	$(RUN) -m tests.simulation.run $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: setup ## measure, and write docs/benchmarks.md and its details
	$(RUN) -m bench $(ARGS)

soak: setup ## half an hour of mixed load with faults
	$(RUN) -m bench.soak $(ARGS)

fuzz: setup ## fuzz what reads a stranger's bytes
	$(RUN) -m pip install --quiet --require-hashes -r requirements-fuzz.txt && $(RUN) -m tests.adapters.fuzz $(ARGS)

audit: setup ## known vulnerabilities, licences, secrets, and the list of parts in build/sbom.json
	$(RUN) tools/audit.py $(ARGS)

lock: setup ## pin requirements*.in anew (ARGS=--upgrade takes the newest)
	VENV=$(VENV) tools/lock $(ARGS)

deploy: setup ## put it on Google Cloud: make deploy PROJECT=my-project ENV=staging (infra/deploy.sh says what else)
	PYTHON=$(VENV)/bin/python infra/deploy.sh apply $(ARGS)

plan: setup ## show what deploy would change
	PYTHON=$(VENV)/bin/python infra/deploy.sh plan $(ARGS)

check: setup ## ask every system from inside the deployed function: make check PROJECT=my-project ENV=staging
	PYTHON=$(VENV)/bin/python infra/deploy.sh check

rollback: setup ## deploy the former archive again
	PYTHON=$(VENV)/bin/python infra/deploy.sh rollback $(ARGS)

destroy: setup ## take it off Google Cloud again: make destroy PROJECT=my-project ENV=staging
	PYTHON=$(VENV)/bin/python infra/deploy.sh destroy $(ARGS)

release: setup ## build the release's archive, list of parts and checksums in build/release
	$(RUN) -m tools.release

docs: setup ## write the generated pages and pictures of docs/ anew
	$(RUN) -m tools.docs.configuration_page && $(RUN) -m tools.docs.command_line_page && $(RUN) -m tools.docs.terraform_page && $(RUN) -m tools.docs.costs_page && UPDATE=1 $(RUN) -m pytest -q tests/adapters/chats/test_gallery.py tests/domain/costs tests/cli tests/project/test_docs.py

clean: ## remove what make made
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
