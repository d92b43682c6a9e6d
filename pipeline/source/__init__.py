"""Sources: one module a format. Each plans a partition without loading it, and reads a planned chunk as often as asked."""
