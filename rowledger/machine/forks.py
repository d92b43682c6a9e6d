"""Keep a process that users' code forks from going on with the work of the process that was forked."""

import contextlib
import os

__all__ = ["OwnProcess"]

_TOLD = b"a forked process came back from the code that had forked it, and was ended: end it there, with os._exit\n"


class OwnProcess:
    """The process in which a piece of work has begun.

    What is forked from it shares its channels, connections and files, so it would do the same work a second time in them.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_current(self) -> bool:
        return os.getpid() == self._pid

    def end_others(self) -> None:
        """End this process at once if it is another one, which was forked since."""
        if self.is_current:
            return
        with contextlib.suppress(OSError):
            os.write(2, _TOLD)
        os._exit(1)
