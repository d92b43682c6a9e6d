"""The commands of `rowledger`, one module a group. `pipeline.cli` imports each only when it is called."""
