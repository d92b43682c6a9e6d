"""Guards against a user's module that is a script: a worker imports it, and it starts a load as soon as it is imported."""

import sys

from rowledger.errors import SpecError
from rowledger.workers.spawn import PRODUCER, WORKER

__all__ = ["require_no_worker"]


def require_no_worker(what: str) -> None:
    """Raise SpecError in a worker process, which would otherwise start workers without end."""
    running = sys.modules["__main__"].__spec__
    if running is not None and running.name in (WORKER, PRODUCER):
        raise SpecError(
            f"this calls {what} while a worker process imports it for the row model or a function of the table; put the call "
            'under `if __name__ == "__main__":`'
        )
