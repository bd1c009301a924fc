#!/usr/bin/env bash
# An S3-compatible server for the object-store profile, on loopback.
#   scripts/object_store.sh install           build it once into .setup/bin (needs Go)
#   scripts/object_store.sh run FOLDER PORT   serve FOLDER; $EXP_S3_ACCESS_KEY and $EXP_S3_SECRET_KEY are its credentials
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
server="$root/.setup/bin/minio"
case "${1:-}" in
    install)
        [ -x "$server" ] && exit 0
        command -v go >/dev/null || { echo "object store: Go is needed to build the server and was not found" >&2; exit 1; }
        mkdir -p "$root/.setup/bin"
        GOBIN="$root/.setup/bin" GOFLAGS=-modcacherw go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
        ;;
    run)
        [ -x "$server" ] || { echo "object store: run 'scripts/object_store.sh install' first" >&2; exit 1; }
        export MINIO_ROOT_USER="${EXP_S3_ACCESS_KEY:?}" MINIO_ROOT_PASSWORD="${EXP_S3_SECRET_KEY:?}"
        export MINIO_BROWSER=off MINIO_UPDATE=off CI=true
        exec "$server" server --quiet --address "127.0.0.1:${3:?port}" "${2:?folder}"
        ;;
    *) sed -n '2,4s/^# //p' "$0"; exit 64 ;;
esac
