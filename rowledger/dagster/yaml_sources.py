"""Sources, transforms and servers in YAML, with all fields of their classes; functions and classes are named by reference."""

# ruff: noqa: ANN401, YAML holds any value

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import BaseModel, Field

from rowledger.dagster.yaml_fields import Chosen, OrTemplate, mistake_at, validated, yaml_shape
from rowledger.errors import SpecError
from rowledger.sources import ArrowFiles, CsvFiles, JsonFiles, NdjsonFiles, ParquetFiles, PythonRows, SqlQuery
from rowledger.spec import FrameTransform, RowTransform, ServersByFunction, ServersByKey, Source, resolve

__all__ = [
    "ServersShape",
    "SourceShape",
    "TransformShape",
    "read_reference",
    "read_servers",
    "read_source",
    "read_transform",
]

_REFERENCE = r"[.:]"
"""What distinguishes the reference of a class from a short name."""
_FUNCTION = (
    str,
    Field(description="The function: .module.name beside this file, package.module.name, or module:name."),
)

_SOURCES: dict[str, type[Source]] = {
    "csv": CsvFiles,
    "ndjson": NdjsonFiles,
    "json": JsonFiles,
    "parquet": ParquetFiles,
    "arrow": ArrowFiles,
    "python": PythonRows,
    "sql": SqlQuery,
}
_TRANSFORMS: dict[str, type[FrameTransform | RowTransform]] = {"frame": FrameTransform, "row": RowTransform}
_SERVERS: dict[str, type[ServersByKey | ServersByFunction]] = {"key": ServersByKey, "function": ServersByFunction}


def _shapes(classes: Mapping[str, type[BaseModel]], kind: str) -> dict[str, type[BaseModel]]:
    return {
        name: yaml_shape(
            f"{name.capitalize()}{kind}", of, type_name=name, omit=("kind",), instead={"function": _FUNCTION}
        )
        for name, of in classes.items()
    }


SourceShape = Annotated[dict[str, Any], Chosen("type", _shapes(_SOURCES, "Source"), others=_REFERENCE), OrTemplate()]
"""The shape of `source`: `type` and the fields of that source; `type` may also be the reference of a class of one's own."""
TransformShape = Annotated[dict[str, Any], Chosen("type", _shapes(_TRANSFORMS, "Transform")), OrTemplate()]
ServersShape = Annotated[dict[str, Any], Chosen("type", _shapes(_SERVERS, "Servers")), OrTemplate()]


def read_source(context: dg.ResolutionContext, value: Any) -> Source:
    """The source of a resolved value, which may also be a Source that a template gave."""
    if isinstance(value, Source):
        return value
    kind = value.get("type") if isinstance(value, Mapping) else None
    if not isinstance(kind, str):
        raise mistake_at(context, f"a source has a type: {', '.join(_SOURCES)}")
    cls = _SOURCES.get(kind) or read_reference(context.at_path("type"), kind)
    if not isinstance(cls, type) or not issubclass(cls, Source):
        raise mistake_at(context.at_path("type"), f"{kind} is no class of a source")
    found: Source = validated(context, cls, _with_function(context, value))
    return found


def read_transform(context: dg.ResolutionContext, value: Any) -> FrameTransform | RowTransform | None:
    """The transform of a resolved value, which may also be one that a template gave."""
    if value is None or isinstance(value, FrameTransform | RowTransform):
        return value
    if not isinstance(value, Mapping) or value.get("type") not in _TRANSFORMS:
        raise mistake_at(context, f"a transform has a type: {', '.join(_TRANSFORMS)}")
    found: FrameTransform | RowTransform = validated(
        context, _TRANSFORMS[value["type"]], _with_function(context, value)
    )
    return found


def read_servers(context: dg.ResolutionContext, value: Any) -> ServersByKey | ServersByFunction | None:
    """The servers of a resolved value, which may also be those that a template gave."""
    if value is None or isinstance(value, ServersByKey | ServersByFunction):
        return value
    if not isinstance(value, Mapping) or value.get("type") not in _SERVERS:
        raise mistake_at(context, f"servers have a type: {', '.join(_SERVERS)}")
    found: ServersByKey | ServersByFunction = validated(
        context, _SERVERS[value["type"]], _with_function(context, value)
    )
    return found


def _with_function(context: dg.ResolutionContext, value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without the type, with the function in place of its reference."""
    fields = {name: part for name, part in value.items() if name != "type"}
    if "function" in fields:
        fields["function"] = read_reference(context.at_path("function"), fields["function"])
    return fields


def read_reference(context: dg.ResolutionContext, value: Any) -> Any:
    """What a reference names: `.module.name` beside the YAML file, `package.module.name`, or `module:name`.

    Another value than a text, which a template gave, is the thing itself.
    """
    if not isinstance(value, str):
        return value
    module, separator, name = value.rpartition(":") if ":" in value else value.rpartition(".")
    if not separator or not name or not module.strip("."):
        raise mistake_at(context, f"{value!r} is no reference; write .module.name, package.module.name or module:name")
    try:
        return resolve(f"{_module(context, module) if module.startswith('.') else module}:{name}")
    except SpecError as error:
        raise mistake_at(context, str(error)) from None


def _module(context: dg.ResolutionContext, relative: str) -> str:
    """The absolute name of a module beside the component, or its file where a folder's name cannot be part of a name."""
    component = dg.ComponentLoadContext.from_resolution_context(context)
    folder = component.path if component.path.is_dir() else component.path.parent
    dots = len(relative) - len(relative.lstrip("."))
    base = folder if dots == 1 else folder.parents[dots - 2]
    parts = relative[dots:].split(".")
    file = Path(base, *parts).with_suffix(".py")
    names = [component.defs_module_name, *base.relative_to(component.defs_module_path).parts]
    if any(not re.fullmatch(r"[\w.]+" if number == 0 else r"[^.]+", name) for number, name in enumerate(names)):
        return str(file)
    return ".".join([*names, *parts])
