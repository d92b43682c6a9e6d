"""Private names of other libraries that this library uses, each with the version in which it was read.

They have no public counterpart. `pipeline_tests/unit/test_private_names.py` fails when one of them is gone or has
another meaning. Those of Dagster are in `rowledger.dagster.private_names`. Workers import this module, so it loads no
library.
"""

import atexit
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["pydantic_has_no_plugins", "request_cancel", "run_exit_functions", "transport_of"]


def transport_of(connection: Any) -> "asyncio.Transport":  # noqa: ANN401, an `asyncpg.Connection`
    """The transport of an open connection. asyncpg 0.32: no setting reaches the socket's options."""
    transport: asyncio.Transport = connection._transport  # noqa: SLF001
    return transport


async def request_cancel(connection: Any) -> None:  # noqa: ANN401, an `asyncpg.Connection`
    """Ask the server to cancel the connection's statement. asyncpg 0.32: a cancelled task does not if rows arrive just then."""
    sent = connection._loop.create_future()  # noqa: SLF001
    connection._cancel_current_command(sent)  # noqa: SLF001
    await sent


def pydantic_has_no_plugins() -> bool:
    """Whether pydantic has searched all installed packages for plugins and found none. pydantic 2.14."""
    loader = sys.modules.get("pydantic.plugin._loader")  # pydantic imports it when it searches
    return getattr(loader, "_plugins", None) == {}


def run_exit_functions() -> None:
    """Wait for threads and run the `atexit` functions, as `multiprocessing` ends its children. Python 3.11 to 3.14."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
