"""How Rowledger behaves as loads grow: `python -m benchmarks.scale`, one module a question."""
