"""Text files as they really come: odd headers, stray quotes, wrong encodings, mixed types; and what has to become of each row.

Workers import the specs by `module:attribute`, so each is a name of this module.
"""

import gzip
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, Field

from rowledger.contract.sql_types import BigInt, Integer
from rowledger.sources.csv import CsvFiles
from rowledger.sources.json_files import JsonFiles
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec.table import DeadLetterBudget, Drift, TableSpec

__all__ = ["MESSY", "Messy"]

_TOLERANT = DeadLetterBudget(rows_max=100, share_max=1)


@dataclass(frozen=True)
class Messy:
    """A file, the rows that have to be in the table (in any order), and the dead letters: row of the file, stage, reason."""

    spec: TableSpec
    name: str
    content: bytes
    rows: list[tuple[Any, ...]]
    dead: list[tuple[int, str, str]]

    def write(self, landing: Path) -> None:
        (landing / self.name).write_bytes(self.content)


def _spec(name: str, row: type[BaseModel], source: CsvFiles | JsonFiles | NdjsonFiles, **options: Any) -> TableSpec:
    return TableSpec(name=name, row=row, source=source, dead_letters=_TOLERANT, **options)


def _csv(file: str, **options: Any) -> CsvFiles:
    return CsvFiles(path="{landing}/" + file, **options)


def _ndjson(file: str, **options: Any) -> NdjsonFiles:
    return NdjsonFiles(path="{landing}/" + file, **options)


# ---- CSV --------------------------------------------------------------------------------------------------------------------


class Survey(BaseModel):
    respondent: Annotated[Integer, Field(alias="Respondent №")]
    answer: str | None = Field(alias="1. What,\nin short?")
    select: str | None


ODD_HEADERS = _spec("odd_headers", Survey, _csv("survey.csv"), drift=Drift.DISCARD_VALUE)

_ODD_HEADERS = Messy(
    ODD_HEADERS,
    "survey.csv",
    '\ufeff"Respondent №","1. What,\nin short?",select,\r\n1,"a ""b""\nc",*,0\r\n2,,"",1\r\nx,y,z,2\r\n'.encode(),
    [(1, 'a "b"\nc', "*"), (2, None, "")],
    [(2, "contract", "valid integer")],
)


class Product(BaseModel):
    sku: str
    name: str
    price: Annotated[Decimal, Field(max_digits=8, decimal_places=2)]


STRAY_QUOTES = _spec("stray_quotes", Product, _csv("products.csv"))

_STRAY_QUOTES = Messy(
    STRAY_QUOTES,
    "products.csv",
    b"sku,name,price\n"
    b'A1,5" pipe,1.20\n'
    b'A2,"3"" pipe",2.00\n'
    b'A3,"never closed,3.00\n'
    b'A4,"the "best" one",4.00\n'
    b"A5,plain,5\n"
    b'A6,"two\nlines",6.00\n'
    b'A7,"more" than quoted,7.00\n'
    b"A8,rounded?,8.999\n"
    b'A9,"open at the end,9.00',
    [
        ("A1", '5" pipe', Decimal("1.20")),
        ("A2", '3" pipe', Decimal("2.00")),
        ("A5", "plain", Decimal("5.00")),
        ("A6", "two\nlines", Decimal("6.00")),
    ],
    [
        (2, "source", "has an opening quote without a closing one"),
        (3, "source", "has text behind a closing quote, or a quote inside a quoted field that is not doubled"),
        (6, "source", "has text behind a closing quote, or a quote inside a quoted field that is not doubled"),
        (7, "contract", "decimal places"),
        (8, "source", "has an opening quote without a closing one"),
    ],
)


class Visit(BaseModel):
    id: Integer
    day: date
    note: str | None = "none"


RAGGED = _spec("ragged", Visit, _csv("visits.txt", delimiter="|", skip_lines=3))

_RAGGED = Messy(
    RAGGED,
    "visits.txt",
    b'report "visits"\nprinted on 2024-03-01\n\n'
    b"id|day|note\r\n\r\n1|2024-03-01|x\r\n2|2024-03-02\r\n3|2024-03-03|y|z\r\n\r\n4|01.03.2024|\r\n5|2024-03-05|\r\n"
    b"(5 rows)\r\n\r\n",
    [(1, date(2024, 3, 1), "x"), (5, date(2024, 3, 5), None)],
    [
        (1, "source", "has 2 fields, the header has 3"),
        (2, "source", "has 4 fields, the header has 3"),
        (3, "contract", "day"),
        (5, "source", "has 1 field, the header has 3"),
    ],
)

FILLED = _spec("filled", Visit, _csv("filled.csv", ragged="fill"))

_FILLED = Messy(
    FILLED,
    "filled.csv",
    b"id,day,note\n1,2024-03-01\n2,2024-03-02,\n3\n4,2024-03-04,x,y\n",
    [(1, date(2024, 3, 1), "none"), (2, date(2024, 3, 2), None)],
    [(2, "contract", "day"), (3, "source", "has 4 fields, the header has 3")],
)


class Person(BaseModel):
    id: Integer
    name: str


WRONG_ENCODING = _spec("wrong_encoding", Person, _csv("people.csv"))

_WRONG_ENCODING = Messy(
    WRONG_ENCODING,
    "people.csv",
    "id,name\n1,Müller\n".encode() + "2,Jürgen\n".encode("latin-1") + "3,Søren\n".encode() + b"4,nul\x00byte\n5,ok\n",
    [(1, "Müller"), (3, "Søren"), (5, "ok")],
    [(1, "source", "has bytes that are no utf-8"), (3, "contract", "NUL")],
)


class Payment(BaseModel):
    id: Integer
    payer: str | None
    amount: float | None


OLD_WINDOWS = _spec(
    "old_windows",
    Payment,
    _csv("payments.csv.gz", delimiter=";", encoding="cp1252", nulls=("", "NULL", "n/a")),
)

_OLD_WINDOWS = Messy(
    OLD_WINDOWS,
    "payments.csv.gz",
    gzip.compress('id;payer;amount\r\n1;"Zoë; & Söhne €";1.5\r\n2;NULL;n/a\r\n3;"NULL";1,5\r\n'.encode("cp1252") + b"4;\x81;1"),
    [(1, "Zoë; & Söhne €", 1.5), (2, None, None)],
    [(2, "contract", "amount"), (3, "source", "has bytes that are no cp1252")],
)  # fmt: skip

FROM_A_SPREADSHEET = _spec("from_a_spreadsheet", Person, _csv("sheet.txt", delimiter="\t", encoding="utf-16"))

_FROM_A_SPREADSHEET = Messy(
    FROM_A_SPREADSHEET,
    "sheet.txt",
    'id\tname\r\n1\t"two\nlines"\r\n 2\t名前\r\n3.0\tx\r\n1e3\ty\r\n'.encode("utf-16"),
    [(1, "two\nlines"), (2, "名前"), (3, "x")],
    [(3, "contract", "valid integer")],
)

DUMP = _spec("dump", Person, _csv("people.tsv", delimiter="\t", quote=None, escape="\\", nulls=("\\N",), header=False))

_DUMP = Messy(
    DUMP,
    "people.tsv",
    b'1\ta\\\tb\n2\tc\\\\\n3\t\\N\n4\ttwo\\\nlines\n5\t"x"\n',
    [(1, "a\tb"), (2, "c\\"), (4, "two\nlines"), (5, '"x"')],
    [(2, "contract", "is null, but the column is not nullable")],
)

OLD_MAC = _spec("old_mac", Person, _csv("mac.csv", encoding="mac_roman"), key=("id",))

_OLD_MAC = Messy(
    OLD_MAC,
    "mac.csv",
    "id,name\r1,Zoë\r2,first\r2,second\r\r1,Zoë\r3,end".encode("mac_roman"),
    [(1, "Zoë"), (2, "first"), (3, "end")],
    [(2, "key", "row 1"), (3, "key", "row 0")],
)


# ---- JSON -------------------------------------------------------------------------------------------------------------------


class Reading(BaseModel):
    id: BigInt
    value: float | None
    unit: str | None = "C"


MIXED_TYPES = _spec("mixed_types", Reading, _ndjson("readings.ndjson"))

_MIXED_TYPES = Messy(
    MIXED_TYPES,
    "readings.ndjson",
    b'\xef\xbb\xbf{"id": 1, "value": 1.5, "unit": "F"}\n'
    b'{"id": "2", "value": "2.5"}\r\n'
    b"\n"
    b'{"id": 3, "value": 3, "unit": null}\n'
    b'{"id": 4.0, "value": null}\n'
    b'{"id": 5.5, "value": 1}\n'
    b'{"id": true, "value": 1}\n'
    b'{"id": 9007199254740993, "value": -0.25}\n'
    b'{"id": 9223372036854775808, "value": 1}\n'
    b'{"value": 1}\n'
    b'{"id": 8, "value": "n/a"}\n'
    b'{"id": 9, "value": 1, "value": 2}\n'
    b'{"id": 10, "value": NaN}\n'
    b'{"id": 11, "value": 1\n'
    b'[12, 1]\n'
    b'{"id": 13, "value": [1]}\n'
    b'{"id": 14, "value": "\xff"}\n',
    [(1, 1.5, "F"), (2, 2.5, "C"), (3, 3.0, None), (4, None, "C"), (9007199254740993, -0.25, "C")],
    [
        (4, "contract", "id"),
        (5, "contract", "boolean"),
        (7, "contract", "id"),
        (8, "contract", "id"),
        (9, "contract", "value"),
        (10, "source", "has a key twice"),
        (11, "source", "is no JSON"),
        (12, "source", "is no JSON"),
        (13, "source", "is a list and no object"),
        (14, "contract", "value"),
        (15, "source", "has bytes that are no utf-8"),
    ],
)  # fmt: skip


class Balance(BaseModel):
    account: str
    amount: Annotated[Decimal, Field(max_digits=30, decimal_places=10)]


MANY_DIGITS = _spec("many_digits", Balance, _ndjson("balances.ndjson.zst"))

_MANY_DIGITS = Messy(
    MANY_DIGITS,
    "balances.ndjson.zst",
    pa.compress(
        b'{"account": "a", "amount": 12345678901234567890.0123456789}\n'
        b'{"account": "b", "amount": 0.1}\n'
        b'{"amount": -7, "account": "\\u0041\\n"}\n'
        b'{"account": "c", "amount": 0.00000000001}\n'
        b'{"account": "d", "amount": 1e400}\n'
        b'{"account": "e\\ud800", "amount": 1}',
        codec="zstd",
        asbytes=True,
    ),
    [("a", Decimal("12345678901234567890.0123456789")), ("b", Decimal("0.1")), ("A\n", Decimal(-7))],
    [(3, "contract", "decimal places"), (4, "contract", "amount"), (5, "source", "is no JSON")],
)


class Address(BaseModel):
    city: str
    zip: str | None


class Customer(BaseModel):
    id: BigInt
    address: Address | None
    tags: list[str]


NESTED = _spec("nested", Customer, _ndjson("customers.ndjson"))

_NESTED = Messy(
    NESTED,
    "customers.ndjson",
    b'{"id": 1, "address": {"city": "Oslo", "zip": "0150"}, "tags": ["a", "b"]}\n'
    b'{"id": 2, "address": {"zip": null, "city": "Rome"}, "tags": []}\n'
    b'{"id": 3, "address": null, "tags": [""]}\n'
    b'{"id": 4, "address": {"city": "Bern"}, "tags": []}\n'
    b'{"id": 5, "address": {"city": 7, "zip": "x"}, "tags": []}\n'
    b'{"id": 6, "address": "Main Street 1", "tags": []}\n'
    b'{"id": 7, "address": null, "tags": "a,b"}\n'
    b'{"id": 8, "address": null, "tags": ["a", 1]}\n'
    b'{"id": 9, "address": null, "tags": null}\n',
    [
        (1, '{"zip": "0150", "city": "Oslo"}', ["a", "b"]),
        (2, '{"zip": null, "city": "Rome"}', []),
        (3, None, [""]),
    ],
    [
        (3, "contract", "zip"),
        (4, "contract", "city"),
        (5, "contract", "address"),
        (6, "contract", "tags"),
        (7, "contract", "tags"),
        (8, "contract", "tags"),
    ],
)


class Station(BaseModel):
    code: str
    height: Annotated[Decimal, Field(max_digits=6, decimal_places=1)] | None = Field(default=None, alias="Height (m)")


WITHIN_AN_OBJECT = _spec(
    "within_an_object", Station, JsonFiles(path="{landing}/stations.json", rows_at=("result", "stations"))
)

_WITHIN_AN_OBJECT = Messy(
    WITHIN_AN_OBJECT,
    "stations.json",
    b"""{
  "total": 5, "result": {"sources": [{"stations": []}], "stations": [
    {"code": "A", "Height (m)": 12.5},
    {"code": "B]", "Height (m)": null}, {"code": "C", "Height (m)": 1.25},
    {
      "code": "D",
      "Height (m)": 1e5x
    }, "E", {"code": "F"}
  ]}
}""",
    [("A", Decimal("12.5")), ("B]", None), ("F", None)],
    [
        (2, "contract", "decimal place"),
        (3, "source", "of its line 3"),
        (4, "source", "is a text and no object"),
    ],
)

MESSY = [
    _ODD_HEADERS, _STRAY_QUOTES, _RAGGED, _FILLED, _WRONG_ENCODING, _OLD_WINDOWS, _FROM_A_SPREADSHEET, _DUMP, _OLD_MAC,
    _MIXED_TYPES, _MANY_DIGITS, _NESTED, _WITHIN_AN_OBJECT,
]  # fmt: skip
