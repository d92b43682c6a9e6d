"""`dg scaffold defs rowledger.dagster.RowledgerTableComponent NAME`: a YAML file, and a row model where there are data."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import dagster as dg
import yaml
from pydantic import BaseModel, Field

from rowledger.errors import RowledgerError
from rowledger.infer import FilePartitions, InferredTable, class_name, dated_path, file_path, infer_table, summary_of
from rowledger.spec import Source

__all__ = ["ScaffoldParams", "TableScaffolder"]

_ROWS = "rows"
_EXAMPLE = """\
  # Or a row model beside this file, in place of columns: row: .rows.Weather
  columns:
    id: bigint
    taken_at: timestamptz
    value: {type: double, nullable: true, description: "What was measured"}
  key: [id]
  source:
    type: csv
    path: "{landing}/NAME/*.csv" # {landing} is .rowledger/landing, or landing in ROWLEDGER_HOME

  # One partition a day, which readers see whole; each is loaded from its own file, as {landing}/NAME/{partition_key}.csv:
  # partition_by: taken_at
  # partitions: {type: daily, start: "2024-01-01"}

  # Jobs, a schedule of the load, and the asset's group and owners:
  # jobs: true
  # schedule: true
  # translation: {group_name: warehouse, owners: ["team:data"]}
"""


class ScaffoldParams(BaseModel):
    """What `dg scaffold defs` can be given for a table."""

    from_file: str | None = Field(
        default=None, description="A file of CSV, JSON, Parquet or Arrow whose columns, types and key are inferred."
    )


class TableScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes `defs.yaml`, and `rows.py` with a row model inferred from a file."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        folder = request.target_path.parent if request.append else request.target_path
        name = re.sub(r"\W", "_", folder.name, flags=re.ASCII)
        if request.params.from_file is None:
            self._write(request, self._named(request, name) + _EXAMPLE.replace("NAME", name))
            return
        file = Path(request.params.from_file)
        try:
            table = infer_table(file, name=None if request.append else name)
        except RowledgerError as error:
            # dg has made the folder, and refuses the next try where it exists. A folder with files stays.
            with suppress(OSError):
                folder.rmdir()
            raise click.ClickException(str(error)) from None
        module = f"{table.name}_{_ROWS}" if request.append else _ROWS
        rows = folder / f"{module}.py"
        if rows.exists():
            raise click.ClickException(f"{rows}: exists already; choose another folder, or remove it")
        rows.write_text(table.module_text(spec=False), encoding="utf-8")
        self._write(
            request,
            self._named(request, table.name) + _attributes(table, f".{module}.{class_name(table.name)}", file, request),
        )
        click.echo("\n".join(summary_of(table, written_to=str(rows))))
        partitions = _partitions(table, file, request.project_root)
        partition = "" if partitions is None else f" --partition {partitions.path.key}"
        click.echo(f"to load it: dg launch --assets {table.name}{partition}")

    def _named(self, request: dg.ScaffoldRequest[ScaffoldParams], name: str) -> str:
        """The attribute `name`, where the folder's name is not the table's."""
        return "" if not request.append and name == request.target_path.name else f"  name: {name}\n"

    def _write(self, request: dg.ScaffoldRequest[ScaffoldParams], attributes: str) -> None:
        if request.scaffold_format == "python":
            dg.scaffold_component(request, {})
            return
        text = f"type: {request.type_name}\n\nattributes:\n{attributes}"
        if request.append:
            with request.target_path.open("a", encoding="utf-8") as file:
                file.write(f"---\n{text}")
        else:
            (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")


def _attributes(table: InferredTable, row: str, file: Path, request: dg.ScaffoldRequest[ScaffoldParams]) -> str:
    """The attributes of a table that was inferred from a file, indented."""
    lines = [_dumped({"row": row})]
    if table.key:
        lines.append("  # No two rows of the file have the same key. Check that it is one by its meaning.\n")
        lines.append(_dumped({"key": list(table.key)}))
    partitions = _partitions(table, file, request.project_root)
    lines.append(_dumped({"source": _source(table.source, _shown(file, request.project_root), partitions)}))
    if partitions is not None:
        lines.append(_dumped({"partition_by": partitions.column, "partitions": partitions.declared}))
    if (budget := table.budget) is not None:
        lines.append(f"  # {table.refused.rows:,} rows of the file are refused.\n")
        lines.append(_dumped({"dead_letters": budget.model_dump(exclude_defaults=True)}))
    if partitions is None and table.partition_candidates:
        lines.append(
            "\n  # To load it by the day, each from a file of its own whose path has {partition_key}:\n"
            f"  # partition_by: {table.partition_candidates[0]}\n"
            '  # partitions: {type: daily, start: "2024-01-01"}\n'
        )
    return "".join(lines)


def _shown(file: Path, project: Path | None) -> Path:
    """The file's path, from the project's folder where that holds the file."""
    path = file.absolute()
    return path.relative_to(project) if project is not None and path.is_relative_to(project) else path


def _partitions(table: InferredTable, file: Path, project: Path | None) -> FilePartitions | None:
    """The table's partitions, if the path that the YAML shows has their date."""
    path = dated_path(file_path(_shown(file, project)))
    return None if table.partitions is None or path is None else FilePartitions(path, table.partitions.column)


def _source(source: Source, path: Path, partitions: FilePartitions | None) -> dict[str, Any]:
    """The source's type, its path, and settings that are no defaults."""
    plain = source.model_dump(mode="json", exclude_defaults=True)
    rest = {name: value for name, value in plain.items() if name not in ("kind", "path")}
    template = file_path(path) if partitions is None else partitions.path.template
    return {"type": getattr(source, "kind"), "path": _escaped(template), **rest}  # noqa: B009 - each file source has a kind


def _escaped(text: str) -> str:
    """The template, of which the YAML's own templates take nothing."""
    return "{{ " + repr(text) + " }}" if "{{" in text else text


def _dumped(attribute: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(attribute, sort_keys=False, allow_unicode=True, width=110)
    return "".join(f"  {line}\n" for line in text.splitlines())
