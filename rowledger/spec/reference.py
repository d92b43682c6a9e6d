"""Classes and functions by name: `module:qualname`, or `/path/to/file.py:qualname` where no import finds the module.

Other processes and the ledger, which take JSON, receive them in this form.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MethodType, ModuleType
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from rowledger.errors import SpecError
from rowledger.spec.importing import MAINS, import_file, import_module, is_importable, module_file

__all__ = ["ByReference", "reference_of", "refusal_of", "resolve"]


def resolve(reference: str) -> Any:  # noqa: ANN401 - a class, a function, a table spec
    """Import what `module:qualname` or `file.py:qualname` names.

    Raises SpecError. For a module with a mistake, its message is one line, `file: line N: mistake`.
    """
    module_name, separator, qualname = reference.rpartition(":")
    if not separator or not module_name or not qualname:
        raise SpecError(f"{reference!r} is not a reference; write module:NAME or path/to/file.py:NAME")
    is_file = module_name.endswith(".py") or "/" in module_name
    found: Any = import_file(Path(module_name).absolute()) if is_file else import_module(module_name)
    for name in qualname.split("."):
        if (found := getattr(found, name, None)) is None:
            raise SpecError(f"{module_name} has no {qualname}")
    return found


def reference_of(thing: object, field: str = "") -> str:
    """The name by which another process imports this class or function; `field` is the spec's field that holds it.

    Raises SpecError for an object that cannot be imported by name.
    """
    try:
        return _reference_of(thing)
    except _Unnamed as unnamed:
        raise SpecError(f"{field} is {unnamed}" if field else str(unnamed)) from None


def refusal_of(error: BaseException | None) -> SpecError | None:
    """The SpecError of `reference_of` that made pydantic's serialisation fail, if one did."""
    while error is not None and not isinstance(error, SpecError):
        error = error.__cause__
    return error


class _Unnamed(Exception):
    def __init__(self, thing: str, why: str, remedy: str) -> None:
        super().__init__(f"{thing}, which worker processes cannot import: {why}; {remedy}")


def _reference_of(thing: object) -> str:
    kind = "class" if isinstance(thing, type) else "function"
    remedy = f"define a {kind} at the top level of a module and give that"
    if isinstance(thing, partial):
        raise _Unnamed("a functools.partial", "it has no name", remedy)
    if isinstance(thing, MethodType):
        raise _Unnamed(f"the bound method {thing.__qualname__}", "it belongs to an object of this process", remedy)
    qualname, module_name = getattr(thing, "__qualname__", None), getattr(thing, "__module__", None)
    if not isinstance(qualname, str) or not isinstance(module_name, str):
        raise _Unnamed(f"an object of the class {type(thing).__qualname__}", "it has no name of its own", remedy)
    told = f"the {kind} {qualname} of {module_name}"
    if "<lambda>" in qualname:
        raise _Unnamed(f"a lambda of {module_name}", "it has no name", remedy)
    if "<locals>" in qualname:
        inner = qualname.rpartition(".")[2]
        function = qualname.rpartition(".<locals>")[0].rpartition(".")[2]
        raise _Unnamed(f"the {kind} {inner} of {module_name}", f"it is made inside of the function {function}", remedy)
    module = sys.modules.get(module_name)
    if module is None:
        raise _Unnamed(told, f"there is no module {module_name} in this process", remedy)
    place = _place(module_name, module, told)
    held: object = module
    for name in qualname.split("."):
        if (held := getattr(held, name, None)) is None:
            raise _Unnamed(told, f"its module has no name {qualname}", f"assign it to {qualname} there, or {remedy}")
    if held is not thing:
        raise _Unnamed(told, "that name holds another object by now", "give the two different names")
    return f"{place}:{qualname}"


def _place(module_name: str, module: ModuleType, told: str) -> str:
    """The module's name; its file if no import finds it by that name."""
    file = module_file(module)
    if module_name in MAINS:
        main = sys.modules["__main__"].__spec__
        if main is not None and main.name not in MAINS:  # run by `python -m`
            module_name = main.name
        elif file is None or not file.is_file():
            raise _Unnamed(
                told, "it was made in an interactive session or in `python -c`", "move it to a module or a script"
            )
        else:
            return str(file)
    if is_importable(module_name, file):
        return module_name
    if file is None or not file.is_file():
        raise _Unnamed(told, "its module was made at run time and has no file", "move it to a module with a file")
    return str(file)


@dataclass(frozen=True, slots=True)
class ByReference:
    """Annotates a field that holds a class or a function: JSON holds its reference, and validation imports it again.

    `field` is what messages call the field, such as `source.function`.
    """

    field: str

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - a type
        return core_schema.no_info_before_validator_function(
            self._imported,
            handler(kind),
            serialization=core_schema.plain_serializer_function_ser_schema(
                partial(reference_of, field=self.field), when_used="json"
            ),
        )

    def _imported(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return resolve(value)
        except SpecError as error:
            raise SpecError(f"{self.field} {value} cannot be imported: {error}") from error
