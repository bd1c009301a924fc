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
export PGPORT=$port PGHOST="$folder"
mkdir -p "$folder"
as=()
if [ "$(id -u)" = 0 ]; then # Postgres refuses to run as root
    as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    chown nobody "$folder"
fi
cd "$folder"
if [ ! -f "$folder/data/PG_VERSION" ]; then
    "${as[@]}" install -m 600 /dev/null "$folder/password" # initdb reads the password from a file
    printf '%s\n' "$POSTGRES_PASSWORD" >"$folder/password"
    "${as[@]}" "$programs/initdb" --pgdata="$folder/data" --pwfile="$folder/password" --username="${POSTGRES_USER:?}" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --no-sync >/dev/null
    rm "$folder/password"
    "${as[@]}" "$programs/pg_ctl" --pgdata="$folder/data" --silent --wait start \
        --options="-c listen_addresses= -k $folder -p $port" --log="$folder/init.log"
    bash "$here/postgres_init.sh"
    "${as[@]}" "$programs/pg_ctl" --pgdata="$folder/data" --silent --wait stop
fi
exec "${as[@]}" "$programs/postgres" -D "$folder/data" -c listen_addresses=127.0.0.1 -p "$port" -k "$folder"
