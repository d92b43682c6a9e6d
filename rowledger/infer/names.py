"""Names for a table, its row model and its columns, made from a file's name and from its headers."""

import keyword
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from rowledger.infer.dates_in_paths import without_dates
from rowledger.spec import name_problem

__all__ = ["class_name", "distinct", "field_names", "spec_name", "table_name"]

_NAME_CHARACTERS_MAX = 50
_ENDINGS_MAX = 3  # weather.2024.csv.gz has two endings, and a part of its name that looks like one
_ENDINGS = {
    ".arrow", ".arrows", ".csv", ".dat", ".data", ".feather", ".gz", ".gzip", ".ipc", ".json", ".jsonl", ".ndjson", ".parquet",
    ".pq", ".psv", ".tab", ".tsv", ".txt", ".zst", ".zstd",
}  # fmt: skip
_LETTERS = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "ß": "ss",
        "æ": "ae",
        "Æ": "Ae",
        "ø": "o",
        "Ø": "O",
    }
    | {"å": "a", "Å": "A", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "%": " percent ", "#": " number ", "&": " and "}
)
_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TAKEN = {"bool", "bytes", "dict", "dt", "float", "int", "list", "str"}
"""Names that annotations use. A field of such a name would hide it from the fields below."""

_IMPORTED = {
    "Any", "ArrowFiles", "AwareDatetime", "BaseModel", "CsvFiles", "DeadLetterBudget", "Decimal", "Field", "Integer", "Json",
    "JsonFiles", "NdjsonFiles", "ParquetFiles", "SmallInt", "TableSpec", "UUID",
}  # fmt: skip
"""Names that the module imports."""


_PARTS = re.compile(r"(?:part|data|file|export)(?:[-_.].*|[0-9]*)|[^A-Za-z]*|[^=]*=.*", re.IGNORECASE)
"""What the files and folders of a table's partitions are called."""


def table_name(path: Path, *, is_dated: bool = False) -> str:
    """The table's name: the file's, without its endings; without the date, if there is one, or else the folder's."""
    name = _without_endings(path.name)
    if is_dated:
        parts = without_dates(f"{path.absolute().parent.as_posix()}/{name}").split("/")
        name = next((part for part in reversed(parts) if not _PARTS.fullmatch(part)), name)
    plain = re.sub(r"[^a-z0-9_]", "", _plain(name)) or "rows"
    return plain if plain[0].isalpha() else f"t_{plain}"


def _without_endings(name: str) -> str:
    for _ in range(_ENDINGS_MAX):
        stem, point, ending = name.rpartition(".")
        if not stem or f"{point}{ending}".lower() not in _ENDINGS:
            break
        name = stem
    return name


def class_name(table: str) -> str:
    """The name of the row model of that table."""
    name = "".join(word.capitalize() for word in table.split("_")) or "Row"
    return f"{name}Row" if name in _IMPORTED or name == spec_name(table) else name


def spec_name(table: str) -> str:
    """The name of the table spec in its module."""
    name = table.upper()
    return f"{name}_TABLE" if name in _IMPORTED else name


def field_names(headers: Iterable[str]) -> list[str]:
    """A name for each header that Python takes for a field, and PostgreSQL for a column; no two are the same."""
    return distinct(_field_name(header, number) for number, header in enumerate(headers, start=1))


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with a number behind each that occurred before."""
    given = list(names)
    taken: set[str] = set()
    found: list[str] = []
    for name in given:
        free, number = name, 1
        while free in taken or (number > 1 and free in given):
            number += 1
            free = f"{name}_{number}"
        taken.add(free)
        found.append(free)
    return found


def _field_name(header: str, number: int) -> str:
    name = _plain(header)
    if not name:
        return f"column_{number}"
    if not name[0].isalpha():
        name = f"c_{name}"
    if not name.isidentifier():
        return f"column_{number}"
    if keyword.iskeyword(name) or name in _TAKEN or name.startswith("model_") or hasattr(BaseModel, name):
        name = f"{name}_" if not name.startswith("model_") else f"the_{name}"
    return f"{name}_" if name_problem(name) else name


def _plain(text: str) -> str:
    """The text in small letters and without accents, its words separated by underscores."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    words = re.sub(r"\W+", "_", _WORD_ENDS.sub("_", unicodedata.normalize("NFC", letters)))
    plain = re.sub("_+", "_", words).strip("_").lower()
    while len(plain) > _NAME_CHARACTERS_MAX or len(plain.encode()) > _NAME_CHARACTERS_MAX:
        plain = plain[:-1].rstrip("_")
    return plain
