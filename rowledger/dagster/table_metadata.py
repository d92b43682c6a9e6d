"""What Dagster shows of a table before any load: its columns with their rules, its source, and the code that declares it."""

import inspect
import operator
import warnings
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import dagster as dg

from rowledger.contract import Contract, FieldRules
from rowledger.spec import TableSpec, TypeName

__all__ = ["column_lineage", "table_metadata"]

_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_CHOICES_MAX = 20  # keeps a column of a hundred choices readable
_LIMITS_OF_TYPES = {
    bound
    for name, bits in ((TypeName.SMALLINT, 16), (TypeName.INTEGER, 32), (TypeName.BIGINT, 64))
    for bound in ((name, "ge", -(2 ** (bits - 1))), (name, "le", 2 ** (bits - 1) - 1))
}


def table_metadata(spec: TableSpec, database: str | None = None) -> dict[str, Any]:
    """The table's name, columns, source and code. `database` is the name of its database, where it is known.

    Nothing here connects to a server, and no address is part of it.
    """
    rules = Contract.of(spec.row).rules
    keys = [f"primary key ({', '.join(spec.key)})"] if len(spec.key) > 1 else []
    return {
        "dagster/table_name": f"{database}.{spec.target}" if database else str(spec.target),
        "dagster/storage_kind": "postgres",
        "dagster/column_schema": dg.TableSchema(
            [_column(spec, rule) for rule in rules], constraints=dg.TableConstraints(keys) if keys else None
        ),
        "write_mode": spec.write_mode.value,
        **({"servers": ", ".join(spec.servers.names)} if spec.servers else {}),
        **_source(spec),
        **_code(spec),
    }


def _column(spec: TableSpec, rule: FieldRules) -> dg.TableColumn:
    column, field = rule.column, spec.row.model_fields.get(rule.field)
    return dg.TableColumn(
        column.name,
        column.type.sql,
        description=inspect.cleandoc(field.description) if field is not None and field.description else None,
        constraints=dg.TableColumnConstraints(
            nullable=column.nullable, unique=spec.key == (column.name,), other=list(_rules(rule))
        ),
    )


def _rules(rule: FieldRules) -> Iterator[str]:
    """The rules of a column besides its type, each as a short text."""
    for bound in rule.bounds:
        if (rule.column.type.name, bound.op, bound.value) not in _LIMITS_OF_TYPES:
            yield f"{_SIGNS[bound.op]} {bound.value}"
    if rule.multiple_of is not None:
        yield f"multiple of {rule.multiple_of}"
    least, most = rule.min_length, rule.max_length
    if least is not None and least == most:
        yield f"length {least}"
    else:
        yield from (f"length {sign} {limit}" for sign, limit in (("≥", least), ("≤", most)) if limit is not None)
    if rule.pattern is not None:
        yield f"matches {rule.pattern}"
    if rule.allowed is not None:
        shown = ", ".join(map(str, rule.allowed[:_CHOICES_MAX]))
        yield f"one of {shown}{', …' if len(rule.allowed) > _CHOICES_MAX else ''}"
    if rule.element is not None:
        yield from (f"each element {told}" for told in _rules(rule.element))


def _source(spec: TableSpec) -> dict[str, str]:
    """The source's format, and the path of its files; a query or a function may hold an address, so only its kind is told."""
    path, kind = (
        getattr(spec.source.without_secrets(), "path", None),
        getattr(spec.source, "kind", type(spec.source).__name__),
    )
    return {
        "source_format": str(kind),
        **({"source_path": path} if isinstance(path, str) and "@" not in path else {}),
    }


def _code(spec: TableSpec) -> dict[str, dg.CodeReferencesMetadataValue]:
    """The row model's place in the code; empty for a model that was made of data, whose file says more than Python knows."""
    try:
        file, line = inspect.getsourcefile(spec.row), inspect.getsourcelines(spec.row)[1]
    except (OSError, TypeError):
        return {}
    if file is None:
        return {}
    with warnings.catch_warnings(category=dg.BetaWarning, action="ignore"):  # references have been in beta for years
        reference = dg.LocalFileCodeReference(file_path=file, line_number=line, label=spec.row.__name__)
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}


def column_lineage(
    spec: TableSpec, upstream: Mapping[dg.AssetKey, Mapping[str, Any]]
) -> dict[str, dg.TableColumnLineage]:
    """Which columns of upstream assets a table's columns are read from, where that is certain.

    `upstream` is the metadata of the assets that the table depends on. It is certain where exactly one of them has a schema
    with the name that the source has for the column, and no transform stands between.
    """
    if spec.transform is not None:
        return {}
    columns = {
        key: {column.name for column in schema.columns}
        for key, metadata in upstream.items()
        if isinstance(schema := _schema_of(metadata), dg.TableSchema)
    }
    if not columns or len(columns) < len(upstream):  # an asset without a schema may have the column too
        return {}
    known: set[str] = reduce(operator.or_, columns.values())
    lineage = {}
    for rule in Contract.of(spec.row).rules:
        name = next((name for name in rule.sources if name in known), None)
        owners = [key for key, names in columns.items() if name in names]
        if name is not None and len(owners) == 1:
            lineage[rule.column.name] = [dg.TableColumnDep(owners[0], name)]
    return {"dagster/column_lineage": dg.TableColumnLineage(lineage)} if lineage else {}


def _schema_of(metadata: Mapping[str, Any]) -> object:
    found = metadata.get("dagster/column_schema")
    return found.schema if isinstance(found, dg.TableSchemaMetadataValue) else found
