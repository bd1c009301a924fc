#!/usr/bin/env bash
# One service of a standalone Spark cluster, with the `spark-class` of $SPARK_HOME, else of the PATH:
#   scripts/spark.sh master HOST PORT             the master
#   scripts/spark.sh worker MASTER_URL FOLDER     a worker; executors work below FOLDER
# $SPARK_WORKER_CORES and $SPARK_WORKER_MEMORY bound a worker. Secrets come to executors from the driver: a service
# needs none. $EXP_WORKER_JARS is a folder of jars for executors that get none with the application.
set -euo pipefail
usage() { sed -n '2,6s/^# //p' "$0" >&2; exit 64; }
spark_class=spark-class
[ -z "${SPARK_HOME:-}" ] || spark_class="$SPARK_HOME/bin/spark-class"
case "${1:-}" in
master)
    [ $# = 3 ] || usage
    exec "$spark_class" org.apache.spark.deploy.master.Master --host "$2" --port "$3" \
        --webui-port "${SPARK_MASTER_WEBUI_PORT:-8080}"
    ;;
worker)
    [ $# = 3 ] || usage
    mkdir -p "$3"
    cd "$3"
    [ -z "${EXP_WORKER_JARS:-}" ] || export SPARK_DIST_CLASSPATH="$EXP_WORKER_JARS/*"
    exec "$spark_class" org.apache.spark.deploy.worker.Worker --work-dir "$3" \
        --webui-port "${SPARK_WORKER_WEBUI_PORT:-8081}" "$2"
    ;;
*) usage ;;
esac
