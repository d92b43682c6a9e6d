"""How a component's YAML is read: the shapes of its fields, templates in them, and mistakes told with file, line and field.

Dagster's own resolver evaluates every text as a template of native Python values: `"1"` becomes the number 1, and `"None"`
becomes None. Here a text is a template only where it holds `{{`, and what a template gives is not read as Python again.
"""

# ruff: noqa: ANN401, YAML holds any value

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfoNotFoundError

import dagster as dg
from jinja2 import Environment, StrictUndefined
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticUndefined, core_schema

from rowledger.dagster.private_names import CheckError, ResolutionException
from rowledger.errors import RowledgerError

__all__ = [
    "Chosen",
    "NotYaml",
    "OrTemplate",
    "OrText",
    "Shape",
    "YamlField",
    "chosen",
    "exact_shape",
    "mistake_at",
    "resolved",
    "telling_mistakes",
    "validated",
    "yaml_shape",
]

T = TypeVar("T")
S = TypeVar("S", bound=BaseModel)
NotYaml = Annotated[T, "given by Python or made by the field's resolver"]
"""A type that YAML has in another shape. Dagster looks into models without this, and refuses what it cannot show in YAML."""

_OPENING = "{{"
_ONE_EXPRESSION = re.compile(r"\s*\{\{(?P<expression>(?:(?!\}\}).)*)\}\}\s*", re.DOTALL)
_AS_IT_IS = core_schema.plain_serializer_function_ser_schema(
    lambda value: value, return_schema=core_schema.any_schema()
)
_TEMPLATES = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - no HTML


_SHAPES: dict[type[BaseModel], type[BaseModel]] = {}


class Shape(BaseModel):
    """A mapping of YAML with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class OrTemplate:
    """Annotates a field of a shape that may also be a text with a template, which is resolved later."""

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            lambda value, inner: value if isinstance(value, str) and _OPENING in value else inner(value),
            handler(kind),
            serialization=_AS_IT_IS,
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # Not `anyOf`, whose errors name no field inside.
        inner = handler(schema)
        about: dict[str, Any] = {}
        if "$ref" not in inner:
            about = {key: inner.pop(key) for key in ("description", "title", "examples") if key in inner}
        return {**about, "if": {"type": "string", "pattern": r"\{\{"}, "then": {}, "else": inner}


class OrText:
    """Annotates a shape that a text may stand for: `read_text` makes of it what the shape takes, or leaves it as it is.

    `schema` is what an editor may know about the text.
    """

    def __init__(
        self,
        read_text: Callable[[str], object] | None = None,
        schema: JsonSchemaValue | None = None,
    ) -> None:
        self._read_text, self._schema = read_text, schema or {}

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._read, handler(kind), serialization=_AS_IT_IS)

    def _read(self, value: object, inner: Callable[[object], object]) -> object:
        if not isinstance(value, str):
            return inner(value)
        return value if self._read_text is None else inner(self._read_text(value))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"if": {"type": "string"}, "then": self._schema, "else": handler(schema)}


class Chosen:
    """Annotates a union of shapes that `field` tells apart. A mistake is told as one of the chosen shape's.

    `others` describes values of `field` besides those of the shapes, by a regular expression: they are taken as they are.
    """

    def __init__(self, field: str, shapes: Mapping[str, type[BaseModel]], others: str | None = None) -> None:
        self.field, self.shapes, self.others = field, shapes, others

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._read, handler(kind), serialization=_AS_IT_IS)

    def _read(self, value: object, inner: Callable[[object], object]) -> object:
        if not isinstance(value, Mapping):
            return inner(value)
        if (shape := self.shapes.get(value.get(self.field))) is not None:  # type: ignore[arg-type]
            shape.model_validate(value)  # as plain values again: templates come next
            return dict(value)
        named = value.get(self.field)
        if self.others is not None and isinstance(named, str) and re.search(self.others, named):
            return dict(value)
        raise ValueError(f"{self.field} must be one of {', '.join(self.shapes)}")

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        references = {name: handler(shape.__pydantic_core_schema__) for name, shape in self.shapes.items()}
        names: dict[str, Any] = {"enum": list(self.shapes)}
        if self.others is not None:
            names = {"type": "string", "if": {"pattern": self.others}, "then": {}, "else": names}
        return {
            "type": "object",
            "properties": {self.field: names},
            "required": [self.field],
            "allOf": [
                {"if": {"properties": {self.field: {"const": name}}, "required": [self.field]}, "then": reference}
                for name, reference in references.items()
            ],
        }


def yaml_shape(
    name: str,
    of: type[BaseModel],
    *,
    type_name: str | None = None,
    omit: Sequence[str] = (),
    instead: Mapping[str, tuple[Any, Any]] | None = None,
) -> type[BaseModel]:
    """The YAML shape of a class of the library: its fields, in which any value that is no text may also be a template.

    `type_name` is what `type` holds in it; `instead` replaces fields, which classes and functions need.
    """
    fields: dict[str, Any] = {}
    if type_name is not None:
        fields["type"] = (Literal[type_name], Field(description=f"Selects {of.__name__}."))
    for field, info in of.model_fields.items():
        if field in omit:
            continue
        if instead and field in instead:
            fields[field] = instead[field]
            continue
        annotation = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        default = info.default if info.default is not PydanticUndefined else ...
        fields[field] = (
            annotation if annotation is str else Annotated[annotation, OrTemplate()],
            Field(
                default=default,
                description=info.description,
                examples=info.examples,
                json_schema_extra=info.json_schema_extra,
            ),
        )
    return create_model(name, __config__=ConfigDict(extra="forbid"), __doc__=of.__doc__, **fields)


class YamlField(dg.Resolver):
    """Resolves a field: its templates first, exactly, then by `read` from plain values to the field's own.

    `read` may raise RowledgerError or ValueError; the mistake is told with file, line and field. It gets the value with its
    templates where `is_resolved` is False.
    """

    def __init__(
        self,
        shape: Any,
        read: Callable[[dg.ResolutionContext, Any], Any] = lambda _, value: value,
        *,
        description: str,
        examples: list[Any] | None = None,
        is_resolved: bool = True,
    ) -> None:
        super().__init__(
            lambda context, value: telling_mistakes(
                context, lambda: read(context, resolved(context, value) if is_resolved else value)
            ),
            model_field_type=shape,
            description=description,
            examples=examples,
            inject_before_resolve=False,
        )


def exact_shape(component: type[BaseModel], derived: type[BaseModel], **own: tuple[Any, Any]) -> type[BaseModel]:
    """The shape that Dagster derived of a component, without its `or a text` for each field.

    After that alternative a mistake would name no field inside. `own` has shapes of fields whose resolver is no YamlField.
    """
    if component not in _SHAPES:
        exact: dict[str, Any] = {
            name: (resolver.model_field_type, derived.model_fields[name])
            for name, info in component.model_fields.items()
            for resolver in info.metadata
            if isinstance(resolver, YamlField)
        }
        _SHAPES[component] = create_model(derived.__name__, __base__=derived, **{**exact, **own})
    return _SHAPES[component]


def telling_mistakes(context: dg.ResolutionContext, act: Callable[[], Any]) -> Any:
    """What `act` returns; what is wrong with a value is told with the file, line and field that the context points at."""
    try:
        return act()
    except ResolutionException as error:
        # Without its frames, which Dagster prints below the reason: they are those of this reader, not of the user's code.
        raise error.with_traceback(None) from None
    except ValidationError as error:
        raise _mistakes(context, error) from None
    except (RowledgerError, dg.DagsterError, CheckError, ValueError, ZoneInfoNotFoundError) as error:
        raise mistake_at(context, " ".join(str(error).split()).strip("'")) from None


def validated(context: dg.ResolutionContext, kind: Any, value: Any) -> Any:
    """The value as pydantic reads it for this type; raises ResolutionException with the line of the field that is wrong."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise _mistakes(context, error) from None


def chosen(context: dg.ResolutionContext, shapes: Mapping[str, type[S]], value: Any, *, instead: str) -> S:
    """The value in the shape that its `type` names; `instead` says of another value what it is not."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in shapes:
        raise mistake_at(context, f"{instead}; type must be one of {', '.join(shapes)}")
    found: S = validated(context, shapes[kind], value)
    return found


def _mistakes(context: dg.ResolutionContext, error: ValidationError) -> ResolutionException:
    found = error.errors(include_url=False)[0]
    for part in found["loc"]:
        context = context.at_path(part)
    own = found.get("ctx", {}).get("error")
    return mistake_at(context, str(own) if isinstance(own, ValueError) else found["msg"])


def mistake_at(context: dg.ResolutionContext, message: str) -> ResolutionException:
    """The error of the field that the context points at: file, line, field and message, then the lines of the file."""
    field = ".".join(str(part) for part in context.path)
    if context.source_position_tree is None:
        return ResolutionException(f"{field}: {message}")
    place = context.source_position_tree.source_error(context.path, message, value_error=True)
    return ResolutionException(f"{place.file_name}:{place.start_line_no} - {field}: {message}\n{place.snippet}\n")


def resolved(context: dg.ResolutionContext, value: Any) -> Any:
    """Plain values, with each template in them replaced by what it gives."""
    match value:
        case BaseModel():
            return {name: resolved(context.at_path(name), getattr(value, name)) for name in value.model_fields_set}
        case Mapping():
            return {name: resolved(context.at_path(name), part) for name, part in value.items()}
        case list() | tuple():
            return [resolved(context.at_path(number), part) for number, part in enumerate(value)]
        case str() if _OPENING in value:
            return _rendered(context, value)
        case _:
            return value


def _rendered(context: dg.ResolutionContext, text: str) -> Any:
    """What the template gives: the very object where the text is one expression, otherwise a text."""
    try:
        if (whole := _ONE_EXPRESSION.fullmatch(text)) is not None:
            found = _TEMPLATES.compile_expression(whole["expression"].strip(), undefined_to_none=False)(**context.scope)
            if isinstance(found, StrictUndefined):
                str(found)  # raises UndefinedError
            return found
        return _TEMPLATES.from_string(text).render(**context.scope)
    except Exception as error:  # noqa: BLE001 - a template runs the user's functions
        raise mistake_at(context, f"{text}: {type(error).__name__}: {error}") from None
