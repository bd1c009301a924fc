#!/usr/bin/env bash
# One service of Airflow, in the environment that docker-compose.yml gives:
#   scripts/airflow.sh init | api-server | scheduler | dag-processor | triggerer
# init migrates the database and creates connection and pools; it ends, and the others start after it.
# $AIRFLOW_ADMIN_PASSWORD is the login's; without it Airflow would make one up and print it into the log.
set -euo pipefail
umask 077
case "${1:-}" in
init)
    airflow db migrate
    exec python -m exp_platform.airflow.prepare "${EXP_SPARK_SLOTS:-2}"
    ;;
api-server)
    : "${AIRFLOW_ADMIN_PASSWORD:?set AIRFLOW_ADMIN_PASSWORD: make env writes one}"
    mkdir -p "$AIRFLOW_HOME"
    rm -f "$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
    python - <<'PY'
import json, os
with open(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"], "w") as file:
    json.dump({"admin": os.environ["AIRFLOW_ADMIN_PASSWORD"]}, file)
PY
    exec airflow api-server
    ;;
scheduler | dag-processor | triggerer) exec airflow "$1" ;;
*)
    sed -n '2,5s/^# //p' "$0" >&2
    exit 64
    ;;
esac
