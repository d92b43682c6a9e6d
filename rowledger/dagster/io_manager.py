"""The IO manager: what an asset returns is loaded as a table, through the same guards, and is loaded back by other assets."""

import typing
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError

from rowledger.contract import check_spec
from rowledger.dagster.database import RowledgerDatabase
from rowledger.dagster.failures import errors_as_failures, fail, fail_with, load_failure
from rowledger.dagster.metadata import load_metadata
from rowledger.dagster.observer import observing
from rowledger.dagster.own_table import rivals_in_project, rivals_of_name
from rowledger.dagster.partitions import KEY_PATTERN, partition_maker, require_partitions
from rowledger.dagster.private_names import StepExecutionContext
from rowledger.dagster.resources import GuardedWriter
from rowledger.dagster.returned_rows import require_rows
from rowledger.dagster.run_keys import keys_of_run, require_same_keys
from rowledger.dagster.table import DagsterTable
from rowledger.dagster.table_metadata import table_metadata
from rowledger.errors import SpecError
from rowledger.ledger import RivalRemedy
from rowledger.load import read_rows
from rowledger.sources import GivenRows
from rowledger.spec import TableSpec, mistake

__all__ = ["RowledgerIOManager"]

_PREFIX = "rowledger/"
_FIELDS = (
    *("row", "key", "partition_by", "target", "write_mode", "dead_letters"),
    *("transform", "drift", "sensitive", "servers", "name"),
)


class RowledgerIOManager(dg.ConfigurableIOManager):
    """Loads what assets return as tables, and loads it back for the assets that take it.

    The asset's metadata say what its table is: `rowledger/row` names the pydantic model of one row, `module:Row`, and
    `rowledger/key`, `rowledger/partition_by`, `rowledger/target` and so on are the fields of `TableSpec`. Without
    `rowledger/row` the function's return annotation names the model, as in `-> list[Row]`. An asset with partitions names their
    column by `rowledger/partition_by`, or by `partition_expr` as for other IO managers. The table is named after the asset's
    whole key: `shop_a/orders` is `public.shop_a__orders`.

    The run fails, before anything is materialized, unless the database has confirmed every row of every partition. In a run for
    several partitions each row goes to the partition that its partition column names.

    An asset that takes the table as an input gets a polars frame, or what its annotation says: `pl.LazyFrame`,
    `pandas.DataFrame`, `pyarrow.Table`. It has the rows of the partitions that the input maps to. `columns` in the input's
    metadata selects columns. This takes the extra `sql`.
    """

    database: RowledgerDatabase = Field(description="The database of the tables.")
    writer: GuardedWriter = Field(description="How a run writes.")
    schema_name: str = Field(default="public", description="The schema of tables without `rowledger/target`.")

    def __init__(self, **config: object) -> None:
        # Dagster gives nested resources no defaults.
        super().__init__(**{"database": RowledgerDatabase(), "writer": GuardedWriter(), **config})

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Load the rows; raises dg.Failure unless all of them are accounted for and all partitions published."""
        name = context.asset_key.to_user_string()
        require_rows(name, obj)
        step = context.step_context
        with errors_as_failures(name):
            partitions_def = context.asset_partitions_def if context.has_asset_partitions else None
            table = self._table(context.asset_key, partitions_def, context)
            keys = keys_of_run(step.dagster_run.tags, table.partitions_def, store=step.instance)
            if not table.is_whole:
                recorded = {str(key) for key in context.asset_partition_keys}
                require_same_keys(table.spec.name, keys, recorded, does="would record")
            with observing(_Step(step.dagster_run, context.log)) as observer:
                reports = self.writer.load(
                    table.spec,
                    [table.partition_of(key) for key in keys],
                    url=self._url(table.spec),
                    run_id=step.run_id,
                    observer=observer,
                    rows=obj,
                    asset_key=tuple(table.key.path),
                    rival_remedy=_rivals(step, context, table),
                )
        if not all(report.published for report in reports):
            fail_with(load_failure(table, reports))
        of_table = table_metadata(table.spec, self.database.database_name() if table.spec.servers is None else None)
        for report in reports:
            if table.is_whole:
                context.add_output_metadata({**of_table, **load_metadata(table, report)})
            else:
                step.add_asset_metadata(
                    {**of_table, **load_metadata(table, report)},
                    asset_key=table.key,
                    partition_key=report.partition_key,
                )

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ANN401 - what the input's annotation says
        """The rows of the upstream asset's partitions; raises dg.Failure."""
        name, upstream = context.asset_key.to_user_string(), context.upstream_output
        if upstream is None:
            fail(f"{name}: no output of the asset is known here; let it be an asset of this project")
        columns = (context.definition_metadata or {}).get("columns")
        with errors_as_failures(name):
            partitions_def = context.asset_partitions_def if context.has_asset_partitions else None
            table = self._table(context.asset_key, partitions_def, upstream)
            partitions = None
            if not table.is_whole:
                partitions = [table.partition_of(str(key)) for key in context.asset_partition_keys]
            frame = read_rows(
                table.spec,
                partitions,
                url=self._url(table.spec),
                columns=columns,
                asset_key=tuple(table.key.path),
                rival_remedy=_rivals(context.step_context, upstream, table),
            )
        return _as_annotated(frame, context.dagster_type.typing_type, name)

    def _url(self, spec: TableSpec) -> str | None:
        """The URL of the one server; None for a table whose metadata name several."""
        return self.database.connection_url() if spec.servers is None else None

    def _table(
        self, key: dg.AssetKey, partitions_def: dg.PartitionsDefinition | None, output: dg.OutputContext
    ) -> DagsterTable:
        """The table of an asset, by the metadata and the annotation of its output; raises SpecError."""
        spec = _spec(key, output, self.schema_name, is_whole=partitions_def is None)
        check_spec(spec)
        require_partitions(spec, partitions_def)
        return DagsterTable(
            spec,
            dg.AssetSpec(key, partitions_def=partitions_def),
            partition_maker(spec, partitions_def),
            dynamic_key_pattern=KEY_PATTERN,
            database_key="",
            writer_key="",
        )


@dataclass(frozen=True, slots=True)
class _Step:
    run: dg.DagsterRun
    log: dg.DagsterLogManager


def _spec(key: dg.AssetKey, output: dg.OutputContext, schema_name: str, *, is_whole: bool) -> TableSpec:
    name = key.to_user_string()
    metadata = output.definition_metadata or {}
    fields = {item.removeprefix(_PREFIX): _plain(value) for item, value in metadata.items() if item.startswith(_PREFIX)}
    if unknown := sorted(set(fields) - set(_FIELDS)):
        known = ", ".join(f"{_PREFIX}{field}" for field in _FIELDS)
        raise SpecError(
            f"asset {name}: its metadata {', '.join(_PREFIX + field for field in unknown)} is none of {known}"
        )
    if not is_whole and "partition_by" not in fields and "partition_expr" in metadata:
        fields["partition_by"] = _plain(metadata["partition_expr"])
    if "row" not in fields and (row := _annotated_model(output.dagster_type.typing_type)) is not None:
        fields["row"] = row
    if "row" not in fields:
        raise SpecError(
            f"asset {name}: nothing says what its rows look like; give it the metadata {_PREFIX}row, the name of a pydantic "
            "model of one row, module:Row (`rowledger infer FILE` writes one)"
        )
    own_name = fields.pop("name", "__".join(key.path))
    return _validated(
        name,
        {
            "name": own_name,
            "source": GivenRows(origin=f"asset {name}"),
            "target": {"schema_name": schema_name, "table": own_name},
            **fields,
        },
    )


def _validated(name: str, fields: dict[str, Any]) -> TableSpec:
    try:
        return TableSpec.model_validate(fields)
    except ValidationError as error:
        raise SpecError(f"asset {name}, its metadata: {mistake(error, None)}") from None


def _plain(value: object) -> object:
    """A value of metadata as a field of the spec takes it."""
    match value:
        case dg.PythonArtifactMetadataValue(module, name):
            return f"{module}:{name}"
        case dg.MetadataValue():
            return value.value
    return value


def _annotated_model(annotation: object) -> type[BaseModel] | None:
    """The row model in an annotation such as `list[Row]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [_annotated_model(argument) for argument in typing.get_args(annotation)]
    return next((model for model in found if model is not None), None)


def _rivals(step: StepExecutionContext, output: dg.OutputContext, table: DagsterTable) -> RivalRemedy:
    """The other assets that may load the table, which are more where the project has not chosen its name."""
    is_chosen = f"{_PREFIX}name" in (output.definition_metadata or {})
    name = table.spec.name
    return rivals_of_name(step, name) if "__" in name and not is_chosen else rivals_in_project(step)


def _as_annotated(frame: pl.DataFrame, annotation: object, name: str) -> object:
    """The frame as the class that an input's annotation names; raises dg.Failure for a class that it cannot become."""
    if annotation in (Any, None, object, pl.DataFrame):
        return frame
    if annotation is pl.LazyFrame:
        return frame.lazy()
    if annotation is pa.Table:
        return frame.to_arrow()
    if (
        not isinstance(annotation, type)
        or f"{annotation.__module__.partition('.')[0]}.{annotation.__name__}" != "pandas.DataFrame"
    ):
        fail(
            f"{name}: its rows cannot be loaded as {annotation}; annotate the input with polars.DataFrame, polars.LazyFrame, "
            "pandas.DataFrame or pyarrow.Table"
        )
    # With Arrow's types: NumPy has no nulls in integers, no decimals and no dates.
    return frame.to_pandas(use_pyarrow_extension_array=True)
