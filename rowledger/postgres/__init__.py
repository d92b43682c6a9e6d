"""PostgreSQL as Rowledger uses it: the embedded server, URLs, named SQL, sessions, COPY, the ledger.

Functions here take a connection and never commit; `rowledger.chunk.transaction` and the operations own transactions.
"""
