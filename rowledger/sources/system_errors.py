"""Tell a file that the operating system did not hand out from one whose content is at fault."""

import errno
import os
import re
from typing import Final

__all__ = ["system_refusal"]

_ERRNO: Final = re.compile(r"\(os error (\d+)\)|\[errno (\d+)\]")
"""How polars and pyarrow write it into their texts, where they leave the error's own attribute empty."""


def system_refusal(error: BaseException, *, when_missing: str = "write it again and rerun") -> str | None:
    """What the system said of opening or reading a file, and the remedy if there is one; None for any other error.

    Of the error's text only the number is taken, since a library's text may quote what it read.
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
