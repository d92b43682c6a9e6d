"""Start a program, and SIGKILL it with all below it when a pipe ends: `reaper.py PIPE PROGRAM ARGUMENTS…`.

The kernel gives this process the orphans below it, so that none gets away. It ends with the program's exit code.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 0.1


def main() -> None:
    """Entry point of the process."""
    pipe, argv = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the program and for the pipe's other end
    program = subprocess.Popen(argv, preexec_fn=_take_interrupts)  # noqa: S603, PLW1509 - the caller's; no threads here
    while program.poll() is None and not select.select([pipe], [], [], _LOOK_S)[0]:
        pass
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    sys.exit(program.returncode if program.returncode is not None and program.returncode >= 0 else 137)


def _take_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
