"""A running load, as the code that writes for it identifies it."""

from dataclasses import dataclass

__all__ = ["LoadHandle"]


@dataclass(frozen=True, slots=True)
class LoadHandle:
    """A load and the epoch under which the holder of this handle may write to it."""

    load_id: int
    epoch: int

    @property
    def staging_table(self) -> str:
        """Name of the staging table, in schema `rowledger`."""
        return f"staging_{self.load_id}"
