"""Rowledger: load partitioned data into PostgreSQL and account for every row.

The exports of this package, of `rowledger.dagster` and of `rowledger.errors` are the public interface. Everything
else may change. A name is imported when it is first used.
"""

from typing import Any

import lazy_loader

_exported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what a module exports
    if name == "__version__":  # it runs git in a checkout, which an import should not do
        from rowledger.version import version  # noqa: PLC0415, workers never ask for it

        return version()
    return _exported(name)
