"""The settings of an installation, from its environment. `settings.settings()` returns them.

They are separate from the settings of a run, because workers do not need them and start faster without them.
"""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """The installation: which server, which folder. Read once from `ROWLEDGER_*` variables."""

    model_config = SettingsConfigDict(env_prefix="ROWLEDGER_", frozen=True, env_ignore_empty=True)

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

    @property
    def landing_dir(self) -> Path:
        """The folder where landing assets write the partitioned source files."""
        return self.home.absolute() / "landing"

    @property
    def spool_dir(self) -> Path:
        """The folder where runs keep rows that cannot be read a second time, until the run ends."""
        return self.home.absolute() / "spool"
