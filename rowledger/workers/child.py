"""What workers and producers, as child processes, have in common: how they end with their supervisor, and what they tell."""

import ctypes
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable

from rowledger.errors import RowledgerError, SourceError, SpecError
from rowledger.ledger import SourceRaised
from rowledger.machine import OwnProcess
from rowledger.postgres import summarize
from rowledger.private_names import run_exit_functions
from rowledger.spec import TableSpec

__all__ = ["begin_under", "end", "frames_of", "raised", "read_spec", "relay_log", "summary_of"]

_PR_SET_PDEATHSIG = 1
_TRACEBACK_CHARS_MAX = 8_000
_SUMMARY_CHARS_MAX = 2_000
_LOGGED_CHARS_MAX = 65_536


def begin_under(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies, and leave interrupts to the parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent had died before
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor ends its children
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end() -> None:
    """End as Python's own child processes do: run the registered exit functions, but do not tear down the interpreter.

    Teardown frees memory object by object, while the run waits for it; the kernel takes all of it back at once.
    """
    run_exit_functions()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def read_spec(spec: str, path: tuple[str, ...]) -> TableSpec | SpecError:
    """The table's spec, or the SpecError of each attempt where its row model or a function cannot be imported here."""
    sys.path[:] = path
    try:
        return TableSpec.from_json(spec)
    except SpecError as error:
        return SpecError(
            f"{error}, in a worker process; make the module one that can be imported by itself, then rerun"
        )


def relay_log(send: Callable[[int, str], None]) -> None:
    """Have log records sent to the run's log, by a function of level and text.

    Those of Rowledger from level INFO on, others from WARNING on unless their logger has a level of its own: what a library
    tells at INFO may have a secret, such as the address of a request.
    """
    logging.getLogger().addHandler(_Relay(send))
    logging.getLogger("rowledger").setLevel(logging.INFO)


class _Relay(logging.Handler):
    def __init__(self, send: Callable[[int, str], None]) -> None:
        super().__init__(logging.INFO)
        self._send = send
        self._process = OwnProcess()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()[:_LOGGED_CHARS_MAX].encode(errors="backslashreplace").decode()
        except Exception:  # noqa: BLE001 - whatever the arguments raise; a record in vain must not fail who logs
            self.handleError(record)
            return
        if self._process.is_current:
            self._send(record.levelno, text)
        else:  # one that users' code has forked shares the channel, which is not its own
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - what is printed is in the run's log too


def summary_of(error: BaseException) -> str:
    """One line, even for an exception whose `__str__` fails. Rowledger's own errors keep their message."""
    try:
        return (str(error) if isinstance(error, RowledgerError) else summarize(error))[:_SUMMARY_CHARS_MAX]
    except Exception:  # noqa: BLE001 - the __str__ of a foreign error may raise anything
        return type(error).__name__


def frames_of(error: BaseException) -> str:
    """The call stack without the exception's message, which may quote a row."""
    text = "".join(traceback.format_tb(error.__traceback__))
    return text[-_TRACEBACK_CHARS_MAX:]


def raised(error: BaseException) -> SourceRaised:
    """What a source raised, as the message of it. Rowledger's own errors have no call stack: their message says it all."""
    return SourceRaised(error=type(error).__name__, summary=summary_of(error), traceback=_source_frames_of(error))


def _source_frames_of(error: BaseException) -> str:
    stack = error.source_traceback if isinstance(error, SourceError) else ""
    return stack or ("" if isinstance(error, RowledgerError) else frames_of(error))
