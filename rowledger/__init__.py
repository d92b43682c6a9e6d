"""Rowledger: load partitioned data into PostgreSQL and account for every row."""
