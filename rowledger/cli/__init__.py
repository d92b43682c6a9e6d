"""The command `rowledger`."""
