"""Resources: the guarded writer, whose config fields are those of WriterSettings."""

from collections.abc import Sequence

import dagster as dg
from pydantic import ValidationError

from rowledger.errors import RowledgerError
from rowledger.ledger import Observer, PartitionReport
from rowledger.load import run_load
from rowledger.postgres import target_url
from rowledger.settings import WriterSettings, settings
from rowledger.spec import Partition, TableSpec

__all__ = ["DEFAULT_WRITER", "GuardedWriter", "InvalidWriterConfig", "shared_writer"]


class InvalidWriterConfig(RowledgerError, ValueError):
    """A field of the writer's config is out of its bounds. Change it in the launchpad or in the config file."""


class GuardedWriter(dg.ConfigurableResource[None], WriterSettings):
    """How this run writes: its pool, its limits, its patience. Every field has a default; change them for one run here."""

    # Both bases are frozen pydantic models, so fields, bounds, descriptions and cross-checks have one home:
    # WriterSettings.

    def __init__(self, **config: object) -> None:
        try:
            super().__init__(**config)
        except ValidationError as error:
            raise InvalidWriterConfig(_explain(error)) from None

    def load(
        self, spec: TableSpec, partitions: Sequence[Partition], *, run_id: str, observer: Observer
    ) -> list[PartitionReport]:
        """Load partitions of one table; raises RowledgerError for what concerns the whole run."""
        return run_load(
            spec,
            partitions,
            url=target_url(),
            landing_dir=settings().landing_dir,
            writer=self.settings,
            run_id=run_id,
            observer=observer,
        )

    @property
    def settings(self) -> WriterSettings:
        """The same values without Dagster, for the core and its worker processes."""
        return WriterSettings(**{name: getattr(self, name) for name in WriterSettings.model_fields})


DEFAULT_WRITER = GuardedWriter()

_shared: list[GuardedWriter] = [DEFAULT_WRITER]


def shared_writer(writer: GuardedWriter) -> GuardedWriter:
    """The first writer with the same settings: Dagster merges definitions only if they share their resources."""
    for known in _shared:
        if type(known) is type(writer) and known.settings == writer.settings:
            return known
    _shared.append(writer)
    return writer


def _explain(error: ValidationError) -> str:
    """Field, bound and value of each mistake, in one line."""
    mistakes = []
    for mistake in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in mistake["loc"])
        text = mistake["msg"].removeprefix("Value error, ")
        mistakes.append(f"{field}: {text}, got {mistake['input']!r}" if field else text)
    return f"writer config: {'; '.join(mistakes)}"
