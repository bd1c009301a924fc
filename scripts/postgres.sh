#!/usr/bin/env bash
# Postgres on loopback, from the machine's own package; containers use the official image instead.
#   scripts/postgres.sh FOLDER PORT   serve FOLDER; $POSTGRES_USER and $POSTGRES_PASSWORD are the superuser's
# The databases and their owners are made by scripts/postgres_init.sh, as in the container.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 64; }
folder=$1 port=$2
programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$programs" ] || { echo "postgres: not installed; on Debian: apt-get install postgresql" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" = 0 ]; then # Postgres refuses to run as root
    mkdir -p "$folder"
    chown nobody "$folder"
    exec setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$folder" bash "$0" "$folder" "$port"
fi
export PGPORT=$port PGHOST="$folder"
umask 077
if [ ! -f "$folder/data/PG_VERSION" ]; then
    mkdir -p "$folder"
    (printf '%s\n' "$POSTGRES_PASSWORD" >"$folder/password")
    "$programs/initdb" --pgdata="$folder/data" --username="${POSTGRES_USER:?}" --pwfile="$folder/password" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --no-sync >/dev/null
    rm "$folder/password"
    "$programs/pg_ctl" --pgdata="$folder/data" --silent --wait start \
        --options="-c listen_addresses= -k $folder -p $port" --log="$folder/init.log"
    bash "$here/postgres_init.sh"
    "$programs/pg_ctl" --pgdata="$folder/data" --silent --wait stop
fi
exec "$programs/postgres" -D "$folder/data" -c listen_addresses=127.0.0.1 -p "$port" -k "$folder"
