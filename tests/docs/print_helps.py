"""Ask many commands of one environment for their help, in one process: words as JSON in, exit codes and texts out.

The importing of Airflow, Spark and NumPy is the dearest part of a command that only prints its options.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import traceback


def run(words: list[str]) -> None:
    """Do what `bin/PROGRAM` does after it has become the program, with these words as its arguments."""
    program, *arguments = words
    match program, arguments:
        case "bin/exp", _:
            sys.argv = ["exp", *arguments]
            from exp_platform.cli import app

            app()
        case "bin/airflow", _:
            sys.argv = ["airflow", *arguments]
            from airflow.__main__ import main

            main()
        case "bin/python", ["-m", module, *rest]:
            sys.argv = [module, *rest]
            sys.path.insert(0, "")  # as `python -m` does
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case (("bin/python" | "bin/spark-submit"), [script, *rest]):
            sys.argv = [script, *rest]
            runpy.run_path(script, run_name="__main__")


def printed(words: list[str]) -> tuple[int, str]:
    """Exit code and text of a command."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            run(words)
        except SystemExit as end:
            code = end.code
            return (code if isinstance(code, int) else 0 if code is None else 1), text.getvalue()
        except Exception:
            return 1, f"{text.getvalue()}\n{traceback.format_exc()}"
    return 0, text.getvalue()


if __name__ == "__main__":
    found = [printed(words) for words in json.loads(sys.argv[1])]
    print(json.dumps(found))
