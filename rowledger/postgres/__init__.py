"""PostgreSQL as Rowledger uses it: URLs, named SQL, sessions, errors, COPY, target and staging tables.

Functions that take a connection do not commit: their callers, such as `rowledger.chunk.transaction`, own the transactions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
