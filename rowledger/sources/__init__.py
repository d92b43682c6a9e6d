"""Sources: one module a format; each cuts a partition into chunks and reads a chunk again as often as asked."""
