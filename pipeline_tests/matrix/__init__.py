"""`make check` and `make test` on every Python and every PostgreSQL that can be had on this machine."""
