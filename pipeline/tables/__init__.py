"""The tables of this project: one module a table, with a row model and a `TableSpec`, which worker processes import."""
