"""A worker imports the user's modules, and one of them may be a script that loads as soon as it is imported."""

import sys

from rowledger.errors import SpecError

__all__ = ["require_no_worker"]

_WORKER = "rowledger.workers.process"


def require_no_worker(what: str) -> None:
    """Raise SpecError in a worker process, which would start workers of its own without end."""
    running = sys.modules["__main__"].__spec__
    if running is not None and running.name == _WORKER:
        raise SpecError(
            f"this calls {what} while a worker process imports it for the row model or a function of the table; put the call "
            'under `if __name__ == "__main__":`'
        )
