"""The resources of a table's steps: the guarded writer, whose config fields are those of WriterSettings, and the database."""

from collections.abc import Sequence
from typing import Any, TypeVar

import dagster as dg
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from rowledger.dagster.database import DEFAULT_DATABASE, RowledgerDatabase
from rowledger.errors import RowledgerError, SpecError
from rowledger.ledger import Observer, PartitionReport, RivalRemedy
from rowledger.load import run_load
from rowledger.settings import WriterSettings, settings
from rowledger.spec import Partition, TableSpec

__all__ = ["DEFAULT_WRITER", "GuardedWriter", "InvalidWriterConfig", "resource_key", "resource_of"]


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
        self,
        spec: TableSpec,
        partitions: Sequence[Partition],
        *,
        url: str | None,
        run_id: str,
        observer: Observer,
        rows: object = None,
        asset_key: tuple[str, ...] | None = None,
        rival_remedy: RivalRemedy | None = None,
    ) -> list[PartitionReport]:
        """Load partitions of one table into the database at the URL; raises RowledgerError for what concerns the whole run.

        The URL is None for a spec that names servers.

        `rows` are those of a spec whose source is GivenRows, in the forms that `rowledger.load` takes. The ledger
        keeps the parts of `asset_key`, by which a replay from the command line is recorded in Dagster. `rival_remedy` says
        what to do about an asset that may load the same table again, by its key; None if it cannot.
        """
        return run_load(
            spec,
            partitions,
            url=url,
            landing_dir=settings().landing_dir,
            writer=self.settings,
            run_id=run_id,
            observer=observer,
            rows=rows,
            asset_key=asset_key,
            rival_remedy=rival_remedy,
        )

    @property
    def settings(self) -> WriterSettings:
        """The same values without Dagster, for the core and its worker processes."""
        return WriterSettings(**{name: getattr(self, name) for name in WriterSettings.model_fields})


def _with_bounds(field: FieldInfo) -> str:
    """The field's description and its bounds, which Dagster's schema of a config does not have."""
    limits = {type(item).__name__.lower(): item for item in field.metadata}
    told = [f"{sign} {getattr(limits[name], name)}" for name, sign in _SIGNS.items() if name in limits]
    return f"{field.description} ({' and '.join(told)})" if told else field.description or ""


_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}

for _field in GuardedWriter.model_fields.values():  # copies of the fields of WriterSettings
    _field.description = _with_bounds(_field)

DEFAULT_WRITER = GuardedWriter()

R = TypeVar("R", bound=dg.ConfigurableResource[None])


def resource_key(
    resource: RowledgerDatabase | GuardedWriter | str, table: str, purpose: str, *, shared: bool = True
) -> tuple[str, dict[str, RowledgerDatabase | GuardedWriter]]:
    """The key under which a table's steps ask for the resource, and the resource where the table's definitions bring it.

    A text is the key of a resource that the project defines. All tables share the defaults. An object that was made for
    one table has a key of that table, since Dagster does not merge definitions with two resources of one key. So have the
    defaults if they are not `shared`: a resource of a single asset must not have the key of one of the definitions.
    """
    if isinstance(resource, str):
        return resource, {}
    is_shared = shared and (resource is DEFAULT_DATABASE or resource is DEFAULT_WRITER)
    key = f"{'rowledger' if is_shared else table}_{purpose}"
    return key, {key: resource}


def resource_of(kind: type[R], resources: Any, key: str) -> R:  # noqa: ANN401 - Dagster makes its class at run time
    """The resource of that key among a step's resources; raises SpecError for one of another kind."""
    found = getattr(resources, key)
    if not isinstance(found, kind):
        raise SpecError(f"resource {key} is of the class {type(found).__name__}; give a {kind.__name__} under this key")
    return found


def _explain(error: ValidationError) -> str:
    """Field, bound and value of each mistake, in one line."""
    mistakes = []
    for mistake in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in mistake["loc"])
        text = mistake["msg"].removeprefix("Value error, ")
        mistakes.append(f"{field}: {text}, got {mistake['input']!r}" if field else text)
    return f"writer config: {'; '.join(mistakes)}"
