"""The settings of an installation, from its environment. `settings.settings()` returns them.

They are separate from the settings of a run, because workers do not need them and start faster without them.
"""

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr

__all__ = ["Settings"]


_PREFIX = "rowledger_"


class Settings(BaseModel):
    """The installation: which server, which folder. Read once from `ROWLEDGER_*` variables."""

    model_config = ConfigDict(frozen=True)

    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL 14 or newer, as postgresql://…; unset: an embedded server is used."
    )
    dagster_database_url: SecretStr | None = Field(
        default=None, description="Where Dagster keeps its own storage; unset: schema `dagster` of the target database."
    )
    home: Path = Field(default=Path(".rowledger"), description="Folder for the embedded server and landed files.")
    disk_free_min_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Bytes that must be free on the disk of `home` before anything is written.",
    )

    @classmethod
    def from_environment(cls) -> Self:
        """The settings, in which an empty variable counts as unset; raises pydantic's ValidationError."""
        found = {name.lower(): value for name, value in os.environ.items() if value}
        named = {field: found.get(_PREFIX + field) for field in cls.model_fields}
        return cls.model_validate({field: value for field, value in named.items() if value is not None})

    @property
    def landing_dir(self) -> Path:
        """The folder where landing assets write the partitioned source files."""
        return self.home.absolute() / "landing"

    @property
    def spool_dir(self) -> Path:
        """The folder where runs keep rows that cannot be read a second time, until the run ends."""
        return self.home.absolute() / "spool"
