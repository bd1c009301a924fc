#!/usr/bin/env bash
# An S3-compatible server (SeaweedFS, from the dependency group `test`), on loopback unless $EXP_BIND is another address.
#   scripts/object_store.sh FOLDER PORT [OPTION…]   serve FOLDER; $EXP_S3_ACCESS_KEY and $EXP_S3_SECRET_KEY are its credentials
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 64; }
server="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/weed"
[ -x "$server" ] || server=$(command -v weed) ||
    { echo "object store: the server is not installed; run 'make setup-test' first" >&2; exit 1; }
bind=${EXP_BIND:-127.0.0.1} own=127.0.0.1 # its parts speak to each other on loopback
export AWS_ACCESS_KEY_ID="${EXP_S3_ACCESS_KEY:?}" AWS_SECRET_ACCESS_KEY="${EXP_S3_SECRET_KEY:?}"
# By itself the server would listen on every address and report to its makers. Beside the port of S3 it takes the six
# that follow, and for each of the seven the one that is 10,000 higher.
port=$2
exec "$server" -logtostderr=true mini -dir="$1" -ip="$own" -ip.bind="$bind" -s3.port="$port" \
    -master.port=$((port + 1)) -volume.port=$((port + 2)) -filer.port=$((port + 3)) -s3.port.iceberg=$((port + 4)) \
    -s3.port.lance=$((port + 5)) -admin.port=$((port + 6)) -master.telemetry=false -admin.ui=false -webdav=false "${@:3}"
