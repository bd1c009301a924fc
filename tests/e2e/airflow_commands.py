"""A program: Airflow's command, once for each line of standard input, in forks of one process.

Each line names the words of the command and the file for what it prints; the answer is `ENDED` and the exit code.
What Airflow and its tasks need is imported once: that takes longer than most commands do.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

ENDED = "ENDED"


def serve() -> None:
    """Import what commands need, then run one after the other until the line is closed."""
    from airflow.cli.commands import dag_command  # noqa: F401  (a command that is not loaded yet is loaded in each fork)

    from exp_platform.airflow.preload import MODULES

    for module in MODULES:
        import_module(module)
    gc.freeze()  # no command looks for garbage among these modules
    for line in sys.stdin:
        pid = os.fork() or _run(**json.loads(line))
        print(ENDED, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _run(words: Sequence[str], file: str) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(1, 2)
    sys.argv = ["airflow", *words]
    code = _exit_code()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _exit_code() -> int:
    """Run Airflow's command; its exit code, as the interpreter would make it from an exception."""
    from airflow.__main__ import main

    try:
        main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve()
