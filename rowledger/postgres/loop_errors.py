"""Log errors that no task of an event loop awaits: their names, not their text, which may quote a row."""

import asyncio
import logging
from typing import Any

from rowledger.postgres.sqlstate import summarize

__all__ = ["tell_without_text"]

_log = logging.getLogger("rowledger.loop")


def tell_without_text(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler. asyncio's default one prints the exception and the arguments of its callback."""
    what = str(context.get("message", "an error")).partition("(")[0].strip()
    error = context.get("exception")
    _log.error("%s", what if error is None else f"{what}: {summarize(error)}")
