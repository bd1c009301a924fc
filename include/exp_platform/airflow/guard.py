"""Run one command so that it can't outlive its starter; this file is run by its path, without any package.

Standard input is the lifeline: the starter holds the other end open and never writes. When the starter ends, also by a
kill, the line closes and the whole process group is killed: spark-submit, its JVM, and the Python driver, which would
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
    """Run the command and return its exit code; 128 + n when signal n ended it, as in a shell."""
    if os.getpgrp() != os.getpid():
        sys.stderr.write("guard: start me as the leader of a process group of my own\n")
        return 2
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_group_when_line_closes, daemon=True).start()
    code = child.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    # Not sys.exit: the interpreter's shutdown would wait for the watching thread, which is blocked in a read.
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
