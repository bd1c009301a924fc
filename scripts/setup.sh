#!/usr/bin/env bash
# Set up the clone: virtual environment from the lock, jars, the class archive. Nothing outside the clone is written,
# apart from package caches. Every step is skipped when it is already done; a clone that was moved begins anew.
#   scripts/setup.sh [test] [dev]      dependency groups beside the runtime
set -euo pipefail
cd "$(dirname "$0")/.."
. bin/_environment.sh
UV_VERSION=0.13.8

die() { printf 'setup: %s\n' "$1" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3 python; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
        if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = 3.11 ]; then
            printf '%s' "$candidate"
            return
        fi
    done
    die "Python 3.11 is needed and was not found (looked for \$PYTHON, python3.11, python3). Install it, or set PYTHON=/path/to/python3.11."
}

made_in=$(environment_made_in)
if [ -n "$made_in" ] && [ "$made_in" != "$clone" ]; then
    echo "setup: this clone was moved from $made_in; its virtual environment and class archive are made anew"
    rm -rf .venv .setup
    if [ -e data/catalog.db ]; then
        echo "setup: the lake in data/ still belongs to $made_in: run \`make reset\` to begin with an empty one"
    fi
fi

free_gb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
if [ ! -d .venv ] && [ "$free_gb" -lt 5 ]; then
    die "only ${free_gb} GB are free on this disk; set-up and the demo need 5 GB."
fi

mkdir -p .setup
groups=()
for group in "$@"; do groups+=(--group "$group"); done
lock=".setup/compiled-$(cat uv.lock pyproject.toml | cksum | cut -d' ' -f1)"

# Is every wanted group, of this lock, in an installation that was finished?
is_installed() {
    local done group
    for done in "$lock"-*; do
        [ -e "$done" ] || continue
        for group in "$@"; do
            case "${done#"$lock"}-" in *"-$group-"*) ;; *) continue 2 ;; esac
        done
        return 0
    done
    return 1
}

if [ ! -x .venv/bin/python ] || ! is_installed "$@"; then
    python=$(find_python)
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    if ! .venv/bin/python -c "import importlib.metadata as m; assert m.version('uv') == '$UV_VERSION'" 2>/dev/null; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" ||
            die "the package index cannot be reached, so the locked dependencies cannot be installed."
    fi
    echo "setup 1/3: installing the locked dependencies into .venv (a minute or two)"
    # Compiled once here: where Python may not write bytecode (PYTHONDONTWRITEBYTECODE, as in many containers), every
    # process would else compile the thousands of modules that it imports.
    UV_LINK_MODE=copy VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv sync --quiet --frozen --inexact --compile-bytecode "${groups[@]}" ||
        die "installing the locked dependencies failed; the lines above say which package."
    .venv/bin/python -m compileall -q -j 0 include
    touch "$lock-$(IFS=-; echo "$*")"
fi

# Tests use the object store's jars too. They are fetched before the class archive is written, which fits one set of
# jars: fetched in the middle of the tests they made every later start of Spark cost half as much again.
.venv/bin/python - "$@" <<'PY' || exit 1
import sys
from exp_platform.errors import ExpError
from exp_platform.spark.jars import CORE, OBJECT_STORE, missing_jars, resolve_jars
from exp_platform.spark.java import find_java_home
wanted = CORE | (OBJECT_STORE if "test" in sys.argv else {})
try:
    find_java_home()
    if missing_jars(wanted):
        print("setup 2/3: fetching the jars into .jars", flush=True)
    resolve_jars(wanted)
except ExpError as error:
    sys.exit(f"setup: {error}")
PY

.venv/bin/python -m exp_platform.spark.fast_start
