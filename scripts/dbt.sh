#!/usr/bin/env bash
# dbt's models over the published tables: an environment of its own in .venv-dbt, then deps, run and test.
# Each step is skipped when it is already done, or does the same again.
#   scripts/dbt.sh [install]      install: stop after the environment
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'dbt: %s\n' "$1" >&2; exit 64; }

[ -x .venv/bin/uv ] || die "the clone is not set up yet: run \`make setup\`."
stamp=".venv-dbt/installed-$(cksum <dbt/requirements.txt | cut -d' ' -f1)"
if [ ! -e "$stamp" ] || ! .venv-dbt/bin/dbt --version >/dev/null 2>&1; then
    echo "dbt 1/4: installing dbt from dbt/requirements.txt into .venv-dbt (some seconds; Airflow's lock is not touched)"
    rm -rf .venv-dbt
    .venv/bin/uv venv --quiet --python "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')" .venv-dbt
    .venv/bin/uv pip sync --quiet --python .venv-dbt --require-hashes --link-mode copy dbt/requirements.txt ||
        die "the package index cannot be reached, so dbt cannot be installed."
    touch "$stamp"
else
    echo "dbt 1/4: .venv-dbt is up to date"
fi
[ "${1:-}" != install ] || exit 0

export EXP_DBT_CATALOG=$(realpath -m "${EXP_DBT_CATALOG:-data/catalog.db}")
[ -f "$EXP_DBT_CATALOG" ] || die "there is no lake yet: run \`make demo\` first."
echo "dbt 2/4: dbt deps (the project needs no package of others)"
bin/dbt --quiet deps
echo "dbt 3/4: dbt run"
bin/dbt run
echo "dbt 4/4: dbt test (only what does not pass is shown)"
bin/dbt test | { grep -v -E "(START test| of [0-9]+ PASS) " || true; }
echo "The models are in data/experiments.duckdb, schema experiments. To look at one:"
echo "  bin/dbt show --select experiment_portfolio"
