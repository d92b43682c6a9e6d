"""A chunk in its worker: prepared from the source, isolated from rows that the server refuses, written in one transaction."""
