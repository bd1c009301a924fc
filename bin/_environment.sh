# Where this clone is, and whether it is set up. Read by the commands in this folder and by scripts/setup.sh;
# which variables a command gets is decided in include/exp_platform/airflow/shell.py.
clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# The folder that the virtual environment was made in: its programs name it, so it can't be used in another place.
environment_made_in() {
    [ ! -f "$clone/.venv/pyvenv.cfg" ] || sed -n 's|^command = .* -m venv \(.*\)/\.venv$|\1|p' "$clone/.venv/pyvenv.cfg"
}

# in_clone PROGRAM [ARGUMENT...]: run a program in the clone's environment, from whatever folder.
in_clone() {
    local made_in
    if [ ! -x "$clone/.venv/bin/python" ] || ! compgen -G "$clone/.setup/compiled-*" >/dev/null; then
        echo "$1: $clone is not set up yet: run \`make setup\` there" >&2
        exit 64
    fi
    made_in=$(environment_made_in)
    if [ -n "$made_in" ] && [ "$made_in" != "$clone" ]; then
        echo "$1: this clone was moved from $made_in to $clone: run \`make setup\` there, which mends it" >&2
        exit 64
    fi
    exec "$clone/.venv/bin/python" -m exp_platform.airflow.shell "$@"
}
