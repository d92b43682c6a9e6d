"""Assets whose function returns the rows of a table: `@rowledger_asset`."""

import asyncio
import functools
import inspect
import typing
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack
from weakref import WeakKeyDictionary

import dagster as dg
from pydantic import BaseModel

from rowledger.dagster.assets import LoadEvents, load_events
from rowledger.dagster.checks import in_step_check_specs
from rowledger.dagster.database import DEFAULT_DATABASE, RowledgerDatabase
from rowledger.dagster.declared_table import OptionsBesideKey, Resources, TableOptions, declared_table, parted
from rowledger.dagster.failures import errors_as_failures, fail
from rowledger.dagster.partitions import KEY_PATTERN
from rowledger.dagster.private_names import get_resource_args
from rowledger.dagster.resources import DEFAULT_WRITER, GuardedWriter
from rowledger.dagster.run_keys import partition_keys, require_same_keys
from rowledger.dagster.table import DagsterTable
from rowledger.dagster.translator import RowledgerTranslator
from rowledger.sources import GivenRows
from rowledger.spec import (
    DeadLetterBudget,
    Drift,
    FrameTransform,
    QualifiedName,
    RowTransform,
    ServersByFunction,
    ServersByKey,
    TableSpec,
    WriteMode,
)

__all__ = ["ReturnedTable", "require_rows", "returned_table", "rowledger_asset"]

_Function = Callable[..., Any]
_Resource: Any = dg.ResourceParam[Any]  # type: ignore[misc]  # Dagster makes it at run time
_CONTEXT = frozenset({"context", "_context", "context_", "_"})  # names by which Dagster knows a function's context


@dataclass(frozen=True, slots=True)
class ReturnedTable:
    """The table of a decorated function, its asset without resources, and the resources of its steps."""

    table: DagsterTable
    asset: dg.AssetsDefinition
    resources: Resources


_tables: WeakKeyDictionary[dg.AssetsDefinition, ReturnedTable] = WeakKeyDictionary()


def returned_table(asset: dg.AssetsDefinition) -> ReturnedTable | None:
    """What `rowledger_asset` has made of a function; None for another asset."""
    return _tables.get(asset)


def rowledger_asset(
    *,
    row: type[BaseModel],
    key: Sequence[str] = (),
    partitions_def: dg.PartitionsDefinition | None = None,
    partition_by: str | Mapping[str, str] | None = None,
    name: str | None = None,
    target: str | QualifiedName | None = None,
    write_mode: WriteMode = WriteMode.REPLACE,
    dead_letters: DeadLetterBudget | None = None,
    transform: FrameTransform | RowTransform | None = None,
    drift: Drift = Drift.FREEZE,
    sensitive: Sequence[str] = (),
    servers: ServersByKey | ServersByFunction | None = None,
    asset_key: dg.AssetKey | str | Sequence[str] | None = None,
    ins: Mapping[str, dg.AssetIn] | None = None,
    translator: RowledgerTranslator | None = None,
    database: RowledgerDatabase | str = DEFAULT_DATABASE,
    writer: GuardedWriter | str = DEFAULT_WRITER,
    dynamic_key_pattern: str = KEY_PATTERN,
    **options: Unpack[OptionsBesideKey],
) -> Callable[[_Function], dg.AssetsDefinition]:
    """Make an asset of a function that returns or yields the rows of a table.

    The rows are loaded as those of any table, with the same checks, which run in the asset's step. The function has the
    signature of any asset's: a context, config, resources, and upstream assets. It returns or yields polars or pandas frames,
    Arrow data, pydantic models, dicts, or lists of them; it may be asynchronous. An exception that it raises ends the run, as
    that of any asset does, and nothing is published.

    A run for one partition needs no more than its rows. In a run for several, which the backfill policy `single_run` allows,
    each row goes to the partition that its partition column names, or the function returns a dict with the rows of each
    partition. By default each partition has a run of its own.

    `row` is the pydantic model of one row. Workers import it by name, so it must be at the top level of a module; they start
    faster if that module does not import Dagster. `key` names the columns that identify a row. `name` is the table's name, by
    default the function's; `asset_key` is the asset's key, by default the table's name. `partition_by`, `target`, `write_mode`,
    `dead_letters`, `transform`, `drift`, `sensitive` and `servers` are those of `TableSpec`, and `ins` is that of `dg.asset`.
    Everything else is as in `build_table_defs`.

    The asset brings its resources. `build_table_defs(asset, jobs=True, …)` makes definitions of it with what a table can have
    besides: the check `published_rows_unchanged`, jobs, a schedule, a sensor.

    Raises SpecError for a table that contradicts itself, its partitions, or for a row model without an importable name.

    """

    def decorate(function: _Function) -> dg.AssetsDefinition:
        table_name = name or function.__name__
        given: dict[str, Any] = {"target": target, "dead_letters": dead_letters}
        spec = TableSpec(
            name=table_name,
            row=row,
            source=GivenRows(origin=f"asset {table_name}"),
            partition_by=dict(partition_by) if isinstance(partition_by, Mapping) else partition_by,
            key=tuple(key),
            write_mode=write_mode,
            transform=transform,
            drift=drift,
            sensitive=tuple(sensitive),
            servers=servers,
            description=inspect.getdoc(function) or "",
            **{field: value for field, value in given.items() if value is not None},
        )
        signature = _Signature(function)
        inputs = signature.inputs(ins or {})
        attributes, step = parted(TableOptions(key=asset_key, **options))
        # Those that are given come last, and replace an input's.
        attributes["deps"] = [*map(_dep, inputs.values()), *(attributes.get("deps") or ())]
        table, resources = declared_table(
            spec,
            partitions_def,
            translator or RowledgerTranslator(),
            attributes,
            database,
            writer,
            dynamic_key_pattern,
            shares_defaults=False,
        )

        def load(context: dg.AssetExecutionContext, **arguments: Any) -> LoadEvents:  # noqa: ANN401 - the function's own
            _require_keys(context, table)
            returned = signature.call(context, arguments)
            require_rows(table.name, returned)
            produced = _Produced(returned)
            try:
                yield from load_events(context, table, produced.rows)
            except dg.Failure:  # noqa: TID251 - it is raised again
                if produced.error is not None:
                    raise produced.error from None
                raise

        of_step: dict[str, Any] = {option: value for option, value in step.items() if value is not None}
        make = functools.partial(
            dg.multi_asset,
            name=table.name,
            specs=[table.asset],
            ins=inputs,
            check_specs=in_step_check_specs(table),
            **of_step,
        )
        extended = signature.extended(load, table.resource_keys)
        with warnings.catch_warnings(category=dg.BetaWarning, action="ignore"):  # `resource_defs` are in beta
            asset = make()(extended)
            decorated = make(resource_defs=resources)(extended) if resources else asset
        _tables[decorated] = ReturnedTable(table, asset, resources)
        return decorated

    return decorate


class _Signature:
    """The parameters of a decorated function: its context, its config, resources and inputs."""

    def __init__(self, function: _Function) -> None:
        self._function = function
        self._parameters = dict(inspect.signature(function).parameters)
        first = next(iter(self._parameters), None)
        self._context = first if first in _CONTEXT else None
        try:
            self._hints = typing.get_type_hints(function, include_extras=True)
        except NameError:  # names that only type checkers import
            self._hints = dict(function.__annotations__)

    def inputs(self, given: Mapping[str, dg.AssetIn]) -> dict[str, dg.AssetIn]:
        """The upstream assets that the function takes, each with its key, by the parameter's name."""
        others = {self._context, "config", *(parameter.name for parameter in get_resource_args(self._function))}
        inputs = {}
        for name in self._parameters:
            if name not in others:
                own = given.get(name, dg.AssetIn())
                prefix = [own.key_prefix] if isinstance(own.key_prefix, str) else list(own.key_prefix or ())
                inputs[name] = own._replace(key=own.key or dg.AssetKey([*prefix, name]), key_prefix=None)
        return inputs

    def extended(self, load: _Function, resource_keys: set[str]) -> _Function:
        """Give `load` the function's parameters, and those of the resources that a load needs; it gets them by keyword."""
        parameters = [p.replace(annotation=self._hints.get(p.name, p.annotation)) for p in self._parameters.values()]
        if self._context is not None:
            del parameters[0]
        own = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=_Resource)
            for key in sorted(resource_keys - set(self._parameters))
        ]
        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=dg.AssetExecutionContext
        )
        signature = inspect.Signature([context, *parameters, *own], return_annotation=LoadEvents)
        load.__name__, load.__qualname__, load.__module__ = (
            getattr(self._function, name) for name in ("__name__", "__qualname__", "__module__")
        )
        load.__signature__ = signature  # type: ignore[attr-defined]
        load.__annotations__ = {
            p.name: p.annotation for p in signature.parameters.values() if p.annotation is not p.empty
        } | {"return": LoadEvents}
        return load

    def call(self, context: dg.AssetExecutionContext, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - rows in any form
        """What the function returns, with the arguments that are its own."""
        own = {name: value for name, value in arguments.items() if name in self._parameters}
        produced = self._function(*([context] if self._context is not None else []), **own)
        return asyncio.run(_awaited(produced)) if inspect.iscoroutine(produced) else produced


async def _awaited(coroutine: Any) -> Any:  # noqa: ANN401 - rows in any form
    return await coroutine


class _Produced:
    """What a function has returned, and the error that it raised while its rows were read."""

    def __init__(self, rows: object) -> None:
        self.error: Exception | None = None
        if isinstance(rows, AsyncIterator):
            self.rows: object = self._noting_asynchronously(rows)
        else:
            self.rows = self._noting(rows) if isinstance(rows, Iterator) else rows

    def _noting(self, rows: Iterator[object]) -> Iterator[object]:
        try:
            yield from rows
        except Exception as error:
            self.error = error
            raise

    async def _noting_asynchronously(self, rows: AsyncIterator[object]) -> AsyncIterator[object]:
        try:
            async for row in rows:
                yield row
        except Exception as error:
            self.error = error
            raise
        finally:
            if (close := getattr(rows, "aclose", None)) is not None:
                await close()


def _dep(asset_in: dg.AssetIn) -> dg.AssetDep:
    assert asset_in.key is not None  # noqa: S101 - `_Signature.inputs` has set it
    return dg.AssetDep(asset_in.key, partition_mapping=asset_in.partition_mapping)


def require_rows(name: str, returned: object) -> None:
    """Raise dg.Failure where a function returned nothing at all."""
    if returned is None:
        fail(
            f"{name}: its function returned None; nothing was loaded\nWhat to do: return rows; an empty list if there are none"
        )


def _require_keys(context: dg.AssetExecutionContext, table: DagsterTable) -> None:
    """Raise dg.Failure where the function would be told of other partitions than the run is for.

    Each run of a backfill from a job's page over two dimensions has a range, and tags of the backfill's first key, which
    Dagster shows to the function instead (dagster#28861).
    """
    if table.is_whole:
        return
    with errors_as_failures(table.spec.name):
        keys = partition_keys(context, table.partitions_def)
    told = {str(key) for key in context.partition_keys}
    require_same_keys(table.spec.name, keys, told, does="tells the function of")
