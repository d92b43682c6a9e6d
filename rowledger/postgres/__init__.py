"""PostgreSQL as Rowledger uses it: the embedded server, URLs, named SQL, sessions, COPY, the ledger.

Functions here take a connection and never commit; `rowledger.chunk.transaction` and the operations own transactions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
