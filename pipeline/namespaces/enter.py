"""Start a program in other namespaces: `enter.py READY NAMESPACES PROGRAM ARGUMENTS…`, in place of this process.

READY is the number of an inherited pipe: it ends when the program has started, and says why where it has not. NAMESPACES
are files of /proc, separated by commas. A process of its own does this, since only its caller's thread would be moved
otherwise.
"""

import ctypes
import os
import sys


def main() -> None:
    """Entry point; does not return."""
    ready, namespaces, program = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
    os.set_inheritable(ready, False)  # noqa: FBT003 - the standard library's own signature
    try:
        for path in namespaces:
            _enter(path)
        os.execvp(program[0], program)  # noqa: S606 - the program is the caller's
    except OSError as error:
        os.write(ready, str(error).encode())
        os._exit(127)


def _enter(path: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(descriptor, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


if __name__ == "__main__":
    main()
