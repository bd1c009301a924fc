#!/usr/bin/env bash
# One service of Airflow, in the environment that docker-compose.yml gives:
#   scripts/airflow.sh init | api-server | scheduler | dag-processor | triggerer
# init migrates the database and creates connection, pools, the bucket of logs and the login `admin` with the password
# $AIRFLOW_ADMIN_PASSWORD; it ends, and the others start after it.
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd)
if [ "${AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID:-}" = object_store ]; then
    AIRFLOW_CONN_OBJECT_STORE=$(python "$here/airflow_store.py")
    export AIRFLOW_CONN_OBJECT_STORE
fi
case "${1:-}" in
init)
    : "${AIRFLOW_ADMIN_PASSWORD:?set AIRFLOW_ADMIN_PASSWORD: make env writes one}"
    airflow db migrate
    exec python -m exp_platform.airflow.prepare "${EXP_SPARK_SLOTS:-2}"
    ;;
api-server | scheduler | dag-processor | triggerer)
    mkdir -p "$AIRFLOW_HOME"
    words=("$1")
    if [ "$1" = api-server ] && [ "${AIRFLOW__FAB__ENABLE_PROXY_FIX:-false}" = true ]; then
        # The port is open on loopback alone, so that whoever reaches it is the proxy.
        export FORWARDED_ALLOW_IPS="${FORWARDED_ALLOW_IPS:-*}"
        words+=(--proxy-headers)
    fi
    exec airflow "${words[@]}"
    ;;
*)
    sed -n '2,5s/^# //p' "$0" >&2
    exit 64
    ;;
esac
