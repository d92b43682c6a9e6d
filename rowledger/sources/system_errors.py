"""Distinguish a file that the operating system could not open or read from a file with damaged content."""

import errno
import os
import re
from typing import Final

__all__ = ["system_refusal"]

_ERRNO: Final = re.compile(r"\(os error (\d+)\)|\[errno (\d+)\]")
"""The number in the texts of polars and pyarrow, which may leave the error's `errno` empty."""


def system_refusal(error: BaseException, *, when_missing: str = "write it again and rerun") -> str | None:
    """The system's message for a file that could not be opened or read, with the remedy; None for any other error.

    Only the number is taken from the error's text, since a library's text may quote what it read.
    """
    if isinstance(error, PermissionError):
        return "permission denied; make it readable for this user"
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (written := _ERRNO.search(str(error))):
        number = int(written[1] or written[2])
    if number is None:
        return None
    if number == errno.ENOENT:
        return f"{os.strerror(number)}; {when_missing}"
    return f"{os.strerror(number)} while reading it; the file itself may be sound: fix the cause and rerun"
