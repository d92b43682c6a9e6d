"""`make bench`: Rowledger, its ceiling, bare processes and its peers load the same file, interleaved, in one run."""
