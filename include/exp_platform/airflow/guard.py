"""Runs one command so that it cannot outlive who started it: run by path with the standard library alone.

Standard input is a lifeline: the starter holds its other end open and never writes. When the starter ends, however it
ends, the line closes and the whole process group is killed: spark-submit, its JVM, and the Python driver that would
otherwise go on and commit.
"""

import os
import signal
import subprocess
import sys
import threading


def _kill_group_when_line_closes() -> None:
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(command: list[str]) -> int:
    """Exit code of the command; 128 + n when signal n ended it, as a shell would say."""
    if os.getpgrp() != os.getpid():
        sys.stderr.write("guard: start me as the leader of a process group of my own\n")
        return 2
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_group_when_line_closes, daemon=True).start()
    code = child.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    # Not sys.exit: the watching thread sits in a read that the interpreter's shutdown would wait for.
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
