"""Tables in YAML: a component of Dagster whose attributes are those of a table spec and of its asset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StrictBool

from rowledger.contract import declared_row
from rowledger.dagster.database import RowledgerDatabase
from rowledger.dagster.definitions import build_table_defs
from rowledger.dagster.private_names import (
    AssetAttributesModel,
    CheckError,
    ResolutionException,
    TranslationFn,
    TranslationFnResolver,
)
from rowledger.dagster.resources import GuardedWriter
from rowledger.dagster.scaffold import TableScaffolder
from rowledger.dagster.translator import RowledgerTranslator, RowledgerTranslatorData
from rowledger.dagster.yaml_deps import DepsShape, LandingShape, read_deps, read_landing
from rowledger.dagster.yaml_fields import NotYaml, OrTemplate, YamlField, exact_shape, telling_mistakes
from rowledger.dagster.yaml_partitions import PartitionsShape, read_partitions
from rowledger.dagster.yaml_sources import (
    ServersShape,
    SourceShape,
    TransformShape,
    read_reference,
    read_servers,
    read_source,
    read_transform,
)
from rowledger.dagster.yaml_values import (
    BackfillPolicyShape,
    ColumnsShape,
    DatabaseShape,
    DeadLettersShape,
    LimitsShape,
    RetryPolicyShape,
    TargetShape,
    read_backfill_policy,
    read_columns,
    read_cron,
    read_database,
    read_dead_letters,
    read_limits,
    read_retry_policy,
    read_target,
)
from rowledger.errors import RowledgerError, SpecError
from rowledger.spec import (
    DeadLetterBudget,
    FrameTransform,
    QualifiedName,
    RowTransform,
    ServersByFunction,
    ServersByKey,
    Source,
    TableSpec,
)

__all__ = ["RowledgerTableComponent"]

_Flag = Annotated[StrictBool, OrTemplate()]
_Names = Annotated[str | list[str], OrTemplate()]
_TRANSLATION = (
    Annotated[AssetAttributesModel, OrTemplate()],
    Field(default=None, description="The asset: key, key_prefix, group_name, owners, tags, kinds, deps, and so on."),
)
_WRITE_MODES = Literal["replace", "append", "upsert"]
_DRIFTS = Literal["freeze", "evolve", "discard_value", "discard_row"]


def _names(_context: dg.ResolutionContext, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - one name or several
    return (value,) if isinstance(value, str) else tuple(value)


@dg.scaffold_with(TableScaffolder)
class RowledgerTableComponent(dg.Component, dg.Model, dg.Resolvable):
    """A table of PostgreSQL that is loaded guarded: every row of its source is in the table or among its dead letters.

    The row is a pydantic model, such as `row: .rows.Weather` of a module beside the file, or its columns are declared in the
    file. The source may be files of CSV, NDJSON, Parquet or Arrow, a Python function, or a query on another database.

    For a table of the data in a file, with a row model that is inferred from it, run
    `dg scaffold defs rowledger.dagster.RowledgerTableComponent weather --from-file weather.csv`; without a file the command
    writes an example with columns to edit.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: Annotated[
        str | None,
        YamlField(str | None, description="The table's name; the folder's if not given.", examples=["weather"]),
    ] = None
    description: Annotated[
        str | None, YamlField(str | None, description="What the table holds; the row model's docstring if not given.")
    ] = None
    row: Annotated[
        type[BaseModel] | None,
        YamlField(
            str | None,
            read_reference,
            description="The row model: .module.Class beside this file, package.module.Class, or module:Class.",
            examples=[".rows.Weather"],
        ),
    ] = None
    columns: Annotated[
        Mapping[str, Any] | None,
        YamlField(
            ColumnsShape,
            read_columns,
            description="The columns by name, in place of a row model: the type alone, or the fields of a column.",
            examples=[{"id": "bigint", "note": {"type": "text", "nullable": True}}],
        ),
    ] = None
    source: Annotated[
        Source,
        YamlField(
            SourceShape,
            read_source,
            description="Where the rows come from: files of CSV, NDJSON, Parquet or Arrow, a Python function, or a query.",
            examples=[{"type": "csv", "path": "{landing}/weather/{partition_key}.csv"}],
        ),
    ]
    target: Annotated[
        str | NotYaml[QualifiedName] | None,
        YamlField(TargetShape, read_target, description="The table, as schema.table; public.<name> if not given."),
    ] = None
    key: Annotated[
        tuple[str, ...] | None,
        YamlField(_Names, _names, description="Columns that identify a row; they become the primary key."),
    ] = None
    partition_by: Annotated[
        str | Mapping[str, str] | None,
        YamlField(
            Annotated[str | dict[str, str], OrTemplate()],
            description="The column that holds the partition; with two dimensions, the column of each by its name.",
        ),
    ] = None
    partitions: Annotated[
        dg.PartitionsDefinition | None,
        YamlField(
            PartitionsShape,
            read_partitions,
            description="The partitions: hourly, daily, weekly, monthly, time_window, static, dynamic, or multi for two "
            "dimensions. Without them the table is loaded whole.",
            examples=[{"type": "monthly", "start": "2024-01-01"}],
        ),
    ] = None
    dynamic_key_pattern: Annotated[
        str | None,
        YamlField(
            str | None,
            description="Regular expression that each whole key of dynamic partitions matches, since keys are part of paths.",
        ),
    ] = None
    write_mode: Annotated[
        str | None,
        YamlField(
            Annotated[_WRITE_MODES, OrTemplate()],
            description="What becomes of the rows that are in the table: replace the partition's, append to them, or upsert "
            "by key.",
        ),
    ] = None
    dead_letters: Annotated[
        NotYaml[DeadLetterBudget] | None,
        YamlField(
            DeadLettersShape,
            read_dead_letters,
            description="How many refused rows a partition may have and still be published; both limits apply.",
        ),
    ] = None
    transform: Annotated[
        NotYaml[FrameTransform | RowTransform] | None,
        YamlField(
            TransformShape,
            read_transform,
            description="A function that changes or filters rows before they are checked.",
        ),
    ] = None
    drift: Annotated[
        str | None,
        YamlField(
            Annotated[_DRIFTS, OrTemplate()],
            description="What happens when the source has other columns than the row: freeze (fail), evolve (add them to the "
            "table), discard_value, or discard_row.",
        ),
    ] = None
    sensitive: Annotated[
        tuple[str, ...] | None,
        YamlField(_Names, _names, description="Columns whose values listings of dead letters never show."),
    ] = None
    servers: Annotated[
        NotYaml[ServersByKey | ServersByFunction] | None,
        YamlField(
            ServersShape,
            read_servers,
            description="Which server each partition is on, where the table is on several, by the variables with their URLs.",
            examples=[{"type": "key", "variables": {"eu": "EU_DATABASE_URL", "us": "US_DATABASE_URL"}}],
        ),
    ] = None
    translation: (
        Annotated[
            TranslationFn[RowledgerTranslatorData],
            TranslationFnResolver[RowledgerTranslatorData](
                template_vars_for_translation_fn=lambda data: {"table": data.spec}
            ),
        ]
        | None
    ) = None
    deps: Annotated[
        Sequence[Any] | None,
        YamlField(
            DepsShape,
            read_deps,
            description="The assets that the table depends on: keys, or asset and partition_mapping.",
            examples=[[{"asset": "raw/stations", "partition_mapping": {"type": "time_window", "start_offset": -1}}]],
        ),
    ] = None
    landing: Annotated[
        Sequence[Any] | None,
        YamlField(
            LandingShape,
            read_landing,
            description="Keys of the assets that write the table's files. The table depends on them, and its load job "
            "materializes them along with it; they have its partitions, or none.",
        ),
    ] = None
    database: Annotated[
        NotYaml[RowledgerDatabase] | str | None,
        YamlField(
            DatabaseShape,
            read_database,
            is_resolved=False,
            description="The key of the project's resource that is the database, or the database itself. By default the one "
            "in ROWLEDGER_DATABASE_URL, or else the embedded server.",
        ),
    ] = None
    writer: Annotated[
        str | None, YamlField(str | None, description="The key of the project's GuardedWriter, in place of limits.")
    ] = None
    limits: Annotated[
        NotYaml[GuardedWriter] | None,
        YamlField(LimitsShape, read_limits, description="How a run writes: workers, chunks, timeouts, guards."),
    ] = None
    pool: Annotated[
        str | None, YamlField(str | None, description="The pool that limits how many steps run at once.")
    ] = None
    retry_policy: Annotated[
        dg.RetryPolicy | None,
        YamlField(RetryPolicyShape, read_retry_policy, description="Retries of the step; each resumes the load."),
    ] = None
    backfill_policy: Annotated[
        dg.BackfillPolicy | None,
        YamlField(
            BackfillPolicyShape,
            read_backfill_policy,
            description="How many runs a backfill has: single_run or multi_run.",
        ),
    ] = None
    op_tags: Annotated[
        Mapping[str, Any] | None,
        YamlField(
            Annotated[dict[str, Any], OrTemplate()], description="Tags of the step, such as resources for Kubernetes."
        ),
    ] = None
    jobs: Annotated[
        bool | None, YamlField(_Flag, description="Whether there are jobs that load, verify and replay this table.")
    ] = None
    schedule: Annotated[
        bool | str | None,
        YamlField(
            Annotated[StrictBool | str, OrTemplate()],
            read_cron,
            description="Whether there is a schedule of the load; or its cron schedule.",
        ),
    ] = None
    sensor: Annotated[
        bool | None, YamlField(_Flag, description="Whether there is a sensor that replays corrected dead letters.")
    ] = None
    freshness: Annotated[
        str | None,
        YamlField(
            str | None,
            read_cron,
            description="A cron schedule: by each tick the latest window of time must have been loaded.",
        ),
    ] = None

    _yaml: dg.ResolutionContext | None = PrivateAttr(default=None)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        # Without `produces`, which Dagster has since 1.13.18: an error here would break each command of `dg`.
        return dg.ComponentTypeSpec(tags=["postgresql", "load", "data-quality"])

    @classmethod
    def model(cls) -> type[BaseModel]:
        """The shape of the attributes in YAML."""
        return exact_shape(cls, super().model(), translation=_TRANSLATION)

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        resolve = super().resolve_from_model
        component: Self = telling_mistakes(context, lambda: resolve(context, model))
        component._yaml = context
        return component

    def table_spec(self, path: Path) -> TableSpec:
        """The table that the attributes declare; `path` is the component's folder or file. Raises SpecError."""
        name = self.name or _folder_name(path)
        if (self.row is None) == (self.columns is None):
            raise SpecError(f"table {name}: give a row model as row, or columns, and not both")
        row = self.row if self.columns is None else declared_row(name, self.columns, description=self.description or "")
        of_spec = {field: value for field, value in self._given().items() if field in TableSpec.model_fields}
        return TableSpec.model_validate({**of_spec, "name": name, "row": row})

    def get_asset_spec(self, data: RowledgerTranslatorData) -> dg.AssetSpec:
        """The asset of the table, to which the attribute `translation` is applied; override it for a family of tables."""
        return RowledgerTranslator().get_asset_spec(data)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        path, place = context.path, self._yaml
        if place is None:
            return self._definitions(path)
        try:
            return cast(dg.Definitions, telling_mistakes(place, lambda: self._definitions(path)))
        except ResolutionException:
            if (cause := self._cause(path)) is None:
                raise
        return cast(dg.Definitions, telling_mistakes(place.at_path(cause), lambda: self._definitions(path)))

    def _cause(self, path: Path) -> str | None:
        """The attribute without which the table would have no mistake; None where there is no such one."""
        for name, info in type(self).model_fields.items():
            if getattr(self, name) is None or info.is_required():
                continue
            try:
                self.model_copy(update={name: None})._definitions(path)  # noqa: SLF001 - another of this class
            except (RowledgerError, ResolutionException, dg.DagsterError, CheckError, ValueError):
                continue
            return name
        return None

    def _definitions(self, path: Path) -> dg.Definitions:
        spec = self.table_spec(path)
        if self.writer is not None and self.limits is not None:
            raise SpecError(f"table {spec.name}: give limits, or the key of a writer, and not both")
        options = {
            _ALSO_CALLED.get(name, name): value for name, value in self._given().items() if name not in _NO_OPTIONS
        }
        return build_table_defs(spec, translator=_ComponentTranslator(self), **options)

    def _given(self) -> dict[str, Any]:
        """The attributes that were given, without those of a subclass."""
        fields = RowledgerTableComponent.model_fields
        return {name: value for name in fields if (value := getattr(self, name)) is not None}


_NO_OPTIONS = {*TableSpec.model_fields, "columns", "translation"}
_ALSO_CALLED = {"partitions": "partitions_def", "limits": "writer"}
"""What `build_table_defs` calls an attribute that has another name here."""


class _ComponentTranslator(RowledgerTranslator):
    """Asks the component for the asset, then applies what its YAML says."""

    def __init__(self, component: RowledgerTableComponent) -> None:
        self._component = component

    def get_asset_spec(self, data: RowledgerTranslatorData) -> dg.AssetSpec:
        spec = self._component.get_asset_spec(data)
        if self._component.translation is not None:
            spec = self._component.translation(spec, data)
        if spec.partitions_def != data.partitions_def:
            raise SpecError(
                f"table {data.spec.name}: translation gives partitions; give them as the attribute partitions"
            )
        return spec


def _folder_name(path: Path) -> str:
    return path.name if path.is_dir() else path.parent.name
