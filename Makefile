# Experimentation platform. `make help` lists what there is.
SHELL := /bin/bash
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-dev setup-object-store demo env package cluster-test test test-fast test-long lint format up down trigger bench suites docs docs-generated dbt dbt-install dbt-lock detect calibrate torture lock reset clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## virtual environment from the lock, jars, class archive
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

setup-dev:
	@scripts/setup.sh test dev

setup-object-store: setup ## the further jars that the object-store profile needs
	@$(PY) -m exp_platform.spark.jars object-store
	@$(PY) -m exp_platform.spark.fast_start

demo: setup ## the DAG experiment_analysis for exp_checkout_button_001 on generated data
	@$(PY) -m exp_platform.airflow.local demo

up: setup ## Airflow on localhost with the DAGs loaded and unpaused
	@$(PY) -m exp_platform.airflow.local up

down: ## stop what `make up` started
	@$(PY) -m exp_platform.airflow.local down

comma := ,
trigger: ## a run in the Airflow that `make up` started: make trigger ID=exp_checkout_button_001 [DT=2026-02-15]
	@test -n "$(ID)" || { echo "trigger: name the experiment: make trigger ID=exp_checkout_button_001 [DT=2026-02-15]" >&2; exit 64; }
	@bin/airflow dags trigger experiment_analysis --run-id "$(ID)__$(or $(DT),latest)__$$(date -u +%Y%m%dT%H%M%S)" --conf '{"experiment_id": "$(ID)"$(if $(DT),$(comma) "dt": "$(DT)")}'

# Three workers on two cores: end-to-end tests wait for Airflow most of the time. Each takes up to 3 GB; a fourth costs
# more (a JVM, the imports) than it makes up for: 24 min 4 s instead of 23 min 40 s.
WORKERS := 3
SIDE_BY_SIDE = --dist loadfile --no-loadscope-reorder --durations=10

test: setup-test ## every test but the long ones, several at a time; the ten slowest at the end (ARGS="-k some words")
	@$(PY) -m pytest -n $(WORKERS) $(SIDE_BY_SIDE) $(ARGS)

test-fast: setup-test ## what needs neither Spark nor a running Airflow
	@$(PY) -m pytest -n $(WORKERS) $(SIDE_BY_SIDE) -m "not spark and not airflow and not slow" $(ARGS)

test-long: setup-test ## what takes many minutes: a backfill against direct runs, random days against full refreshes
	@$(PY) -m pytest -m long $(ARGS)

cluster-test: setup-test ## Postgres, an object store, a Spark cluster and Airflow as processes: the whole of production
	@$(PY) -m pytest -m long -s tests/cluster $(ARGS)

package: setup ## the archive that executors without this clone get: code and Python packages
	@$(PY) -m exp_platform.spark.package

env: ## .env with a generated secret wherever docker-compose.yml asks for one
	@python3 scripts/make_env.py

lint: setup-dev ## ruff and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy include/exp_platform

format: setup-dev ## let ruff format the code
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: setup-test ## ratios against DuckDB, tea-tasting and copies of a stream, each in one run
	@$(PY) -m benchmarks $(ARGS)

suites: setup ## write great_expectations/ from the contracts
	@$(PY) -m exp_platform.quality.suites

docs: setup ## build the data docs of the latest audits
	@$(PY) -m exp_platform.quality.docs

docs-generated: setup ## write docs/tables.md, docs/schemas/, dbt's sources and the tables of docs/configuration.md
	@$(PY) -m exp_platform.lake.tables.tables_page
	@$(PY) -m exp_platform.config.export
	@$(PY) -m exp_platform.quality.dbt_sources

dbt: setup ## dbt's models over the published tables: an environment of its own, deps, run, test
	@scripts/dbt.sh

dbt-install: setup
	@scripts/dbt.sh install

dbt-lock: setup ## lock dbt's dependencies again (dbt/requirements.txt)
	@.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-header dbt/requirements.in -o dbt/requirements.txt

detect: setup ## run every fault and print which checks fired
	@$(PY) -m exp_platform.detection --out docs/detection-matrix.md

calibrate: setup ## thousands of simulated experiments through the real inference code
	@$(PY) -m exp_platform.calibration --out docs/calibration.md

torture: setup-test ## kill, stop, cut off and starve every stage, and check every promise after it (ARGS="--no-spark")
	@$(PY) -m tests.torture --out docs/torture.md $(ARGS)

lock: setup ## lock the dependencies again and export requirements.txt
	@.venv/bin/uv lock
	@.venv/bin/uv export --quiet --frozen --no-dev --no-emit-project --format requirements-txt --no-header -o requirements.txt

reset: ## throw away the lake, raw data, memos and Airflow's home (needed after moving the clone)
	rm -rf data

clean: reset ## and the virtual environment and jars
	rm -rf .venv .venv-dbt .jars .setup
