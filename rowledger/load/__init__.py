"""One run: its partitions in turn, each planned, begun, committed chunk by chunk, finished and published."""
