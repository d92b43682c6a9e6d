"""The settings of an installation, as its environment has them: `settings.settings()` is the way to them.

Apart from the settings of a run, since workers live without these and start the sooner for it.
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
        """Where landing assets write the partitioned source files."""
        return self.home.absolute() / "landing"

    @property
    def spool_dir(self) -> Path:
        """Where runs keep rows that cannot be read a second time, for as long as they last."""
        return self.home.absolute() / "spool"
