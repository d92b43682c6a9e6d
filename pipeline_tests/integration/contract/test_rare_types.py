"""Types that Python has no name for, domains, enums and tables with columns of their own, through real loads."""

# ruff: noqa: DTZ001, timestamps without a zone are half of what is tested

import enum
from datetime import datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv6Network
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from pydantic import BaseModel, Field, IPvAnyAddress

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from rowledger.contract.sql_types import Integer, char, pg_enum, pg_type
from rowledger.postgres.queries import quote_identifier
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.table import DeadLetterBudget, TableSpec

_TOLERANT = DeadLetterBudget(rows_max=100, share_max=1)


class Mood(enum.StrEnum):
    GLAD = "glad"
    SAD = "so so, 'sad'"


class Encoded(BaseModel):
    """Types that have a binary encoder."""

    number: Integer
    a_timestamp: Annotated[datetime, pg_type("timestamp(3)")]
    an_interval: timedelta | None
    any_ip: IPvAnyAddress
    a_v4: IPv4Address
    an_interface: IPv4Interface
    a_network: IPv6Network
    a_char: Annotated[str, char(5)]
    a_json: Annotated[str, pg_type("json")]
    a_jsonb: Annotated[str, pg_type("jsonb")]
    a_mood: Annotated[Mood, pg_enum("mood")]


class Written(Encoded):
    """Types of which only the text form is known."""

    a_range: Annotated[str | None, pg_type("int4range")]
    a_multirange: Annotated[str, pg_type("nummultirange")]
    a_money: Annotated[str, pg_type("money")]
    some_bits: Annotated[str, pg_type("bit(3)")]
    more_bits: Annotated[str, pg_type("bit varying(8)")]
    a_path: Annotated[str, pg_type("jsonpath")]
    a_mac: Annotated[str, pg_type("macaddr")]
    a_point: Annotated[str, pg_type("point")]
    a_timetz: Annotated[str, pg_type("timetz")]
    months: Annotated[str, pg_type("interval")]
    words: Annotated[str, pg_type("tsvector")]
    numbers: Annotated[str, pg_type("int[]")]
    any_number: Decimal | None
    wide_number: Annotated[Decimal, pg_type("numeric(60,20)")]
    odd_number: Annotated[Decimal | None, Field(allow_inf_nan=True)]


ENCODED = TableSpec(
    name="encoded", row=Encoded, source=ParquetFiles(path="{landing}/rows.parquet"), dead_letters=_TOLERANT
)
WRITTEN = TableSpec(
    name="written", row=Written, source=ParquetFiles(path="{landing}/rows.parquet"), dead_letters=_TOLERANT
)

ENCODED_ROW: dict[str, Any] = {
    "number": 1,
    "a_timestamp": datetime(2024, 3, 10, 2, 30, 0, 123_000),
    "an_interval": timedelta(days=-3, microseconds=1),
    "any_ip": "2001:DB8::1",
    "a_v4": "192.168.0.1",
    "an_interface": "10.1.2.3/8",
    "a_network": "2001:db8::/32",
    "a_char": "ab",
    "a_json": '{"b": 1,  "a": [1.50, "x\\n\\u0000"], "b": 2}',
    "a_jsonb": '{"b": 1, "a": 1.50}',
    "a_mood": "so so, 'sad'",
}
ENCODED_TEXTS = {
    **ENCODED_ROW,
    "number": "1",
    "a_timestamp": "2024-03-10 02:30:00.123",
    "an_interval": "-71:59:59.999999",
    "any_ip": "2001:db8::1/128",
    "a_v4": "192.168.0.1/32",
    "a_jsonb": '{"a": 1.50, "b": 1}',
}
WRITTEN_ROW: dict[str, Any] = {
    **ENCODED_ROW,
    "a_range": "[1,5)",
    "a_multirange": "{[1.5,2.5),[7,)}",
    "a_money": "-$1,234.50",
    "some_bits": "101",
    "more_bits": "1",
    "a_path": '$."a\\nb"',
    "a_mac": "08:00:2b:01:02:03",
    "a_point": "(1.5,-2)",
    "a_timetz": "12:30:00.5+05:45",
    "months": "1 year 2 mons 3 days",
    "words": "'a\\\\b':1 'c':2",
    "numbers": "{{1,2},{3,NULL}}",
    "any_number": Decimal("12345678901234567890123.45"),
    "wide_number": Decimal("-1234567890123456.5"),
    "odd_number": Decimal("NaN"),
}
WRITTEN_TEXTS = {**ENCODED_TEXTS, **WRITTEN_ROW, **{name: ENCODED_TEXTS[name] for name in ENCODED_TEXTS}} | {
    "any_number": "12345678901234567890123.45",
    "wide_number": "-1234567890123456.50000000000000000000",
    "odd_number": "NaN",
}


def write(landing: Path, rows: list[dict[str, Any]]) -> None:
    schema = {
        name: pl.String if isinstance(value, str | Decimal) else pl.Series([value]).dtype
        for name, value in rows[0].items()
    }
    texts = [{name: str(value) if isinstance(value, Decimal) else value for name, value in row.items()} for row in rows]
    pl.DataFrame(texts, schema=schema, orient="row").write_parquet(landing / "rows.parquet")


def texts_of(database: str, table: str) -> list[dict[str, str | None]]:
    """Every row of the table, each value as the server prints it."""
    columns = fetch(
        database,
        "select attname::text from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped "
        "order by attnum",
        table,
    )
    names = ", ".join(f"{quote_identifier(row[0])}::text" for row in columns)
    return [dict(row) for row in fetch(database, f"select {names} from {table} order by 1")]


def test_types_with_an_encoder_come_back_equal_from_a_table_made_for_them(database: str, tmp_path: Path) -> None:
    empty = {**ENCODED_ROW, "number": 2, "an_interval": None, "a_char": ""}
    write(tmp_path, [ENCODED_ROW, empty])

    report = load_one(database, ENCODED, tmp_path, "all")

    assert (report.error, report.written_rows) == (None, 2)
    assert texts_of(database, "encoded") == [
        ENCODED_TEXTS,
        {**ENCODED_TEXTS, "number": "2", "an_interval": None, "a_char": ""},
    ]
    declared = fetch(
        database,
        "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'encoded'::regclass and attnum > 0 "
        "order by attnum",
    )
    assert [row[0] for row in declared] == [
        "integer", "timestamp(3) without time zone", "interval", "inet", "inet", "inet", "cidr", "character(5)", "json",
        "jsonb", "mood",
    ]  # fmt: skip


def test_types_without_an_encoder_come_back_equal_too(database: str, tmp_path: Path) -> None:
    empty = {**WRITTEN_ROW, "number": 2, "a_range": None, "any_number": None, "odd_number": Decimal("-Infinity")}
    write(tmp_path, [WRITTEN_ROW, empty])

    report = load_one(database, WRITTEN, tmp_path, "all")

    assert (report.error, report.written_rows) == (None, 2)
    found = texts_of(database, "written")
    assert found == [
        WRITTEN_TEXTS,
        {**WRITTEN_TEXTS, "number": "2", "a_range": None, "any_number": None, "odd_number": "-Infinity"},
    ]


class Kept(BaseModel):
    """A row that the tests have an existing table of, whose columns are odder than their types say."""

    number: Annotated[int, Field(validation_alias='Größe in %, "m"', serialization_alias='Größe in %, "m"')]
    select: str
    label: Annotated[str, Field(validation_alias="x" * 63, serialization_alias="x" * 63)]
    mood: str
    code: str | None
    tags: Annotated[str, pg_type("text")]
    email: str
    price: Decimal
    rounded: int
    stamp: datetime
    padded: str


KEPT = TableSpec(
    name="kept",
    target="depot.Kept, élan",
    row=Kept,
    source=ParquetFiles(path="{landing}/rows.parquet"),
    dead_letters=_TOLERANT,
)
KEPT_ROW: dict[str, Any] = {
    'Größe in %, "m"': 1, "select": "from", "x" * 63: "line\none", "mood": "glad", "code": "AB", "tags": "t",
    "email": "Who@Example.org", "price": "1.50", "rounded": 120, "stamp": datetime(2024, 3, 10, 2, 30, 0, 123_000),
    "padded": "abc  ",
}  # fmt: skip


def existing_table(database: str) -> None:
    for statement in (
        "create schema depot",
        "create extension citext",
        "create type depot.mood as enum ('glad', 'sad')",
        "create domain depot.code as character varying(4) check (value ~ '^[A-Z]+$') default 'NONE'",
        "create domain depot.strict_code as depot.code not null",
        "create domain depot.money as numeric(10,2) check (value >= 0)",
        (
            '''create table depot."Kept, élan" (
            gone text, "Größe in %, ""m""" depot.money, "select" depot.strict_code, '''
            f'"{"x" * 63}" text, '
            """mood depot.mood, unknown depot.strict_code, code depot.code, tags text, email citext, price numeric,
            rounded numeric(4,1), stamp timestamp(3), padded character(4),
            doubled numeric generated always as (price * 2) stored, serial serial, made timestamptz not null default now())"""
        ),
        'alter table depot."Kept, élan" drop column gone',
    ):
        fetch(database, statement)


def test_an_existing_table_keeps_its_domains_defaults_and_odd_names(database: str, tmp_path: Path) -> None:
    existing_table(database)
    write(tmp_path, [{**KEPT_ROW, "select": "FROM"}, {**KEPT_ROW, "select": "INTO", "code": None}])

    report = load_one(database, KEPT, tmp_path, "all")

    assert (report.error, report.written_rows) == (None, 2)
    found = texts_of(database, 'depot."Kept, élan"')
    assert len({row.pop("serial") for row in found}) == len(found)
    assert None not in [row.pop("made") for row in found]
    first = {
        **KEPT_ROW, 'Größe in %, "m"': "1.00", "select": "FROM", "rounded": "120.0", "stamp": "2024-03-10 02:30:00.123",
        "padded": "abc", "unknown": "NONE", "doubled": "3.00",
    }  # fmt: skip
    assert found == [first, {**first, "select": "INTO", "code": None}]


def test_what_a_column_would_change_or_refuse_is_a_dead_letter_with_its_reason(database: str, tmp_path: Path) -> None:
    existing_table(database)
    rows = [{**KEPT_ROW, "select": "FROM", 'Größe in %, "m"': number} for number in range(9)]
    rows[1]["mood"] = "Glad"
    rows[2]["stamp"] = datetime(2024, 3, 10, 2, 30, 0, 123_400)
    rows[3]["rounded"] = 1250
    rows[4]["padded"] = "abcde"
    rows[5]["code"] = "line\nbreak"  # five and more characters: the domain's type
    rows[6]["code"] = "a\nb"  # the domain's check, which only the server knows
    rows[7]['Größe in %, "m"'] = -7
    write(tmp_path, rows)

    report = load_one(database, KEPT, tmp_path, "all")

    assert (report.error, report.written_rows, report.dead_lettered_rows) == (None, 2, 7)
    stamp = "timestamp(3) without time zone"
    letters = fetch(
        database, "select row_no, stage, sqlstate, column_name, reason from rowledger.dead_letter order by row_no"
    )
    assert [tuple(letter) for letter in letters] == [
        (1, "contract", None, "mood", "mood: is none of the labels of the enum depot.mood"),
        (2, "contract", None, "stamp", f"stamp: has more than the 3 digits below the second that {stamp} takes"),
        (
            3,
            "contract",
            None,
            "rounded",
            "rounded: has more than the 3 digits before the decimal point that numeric(4,1) takes",
        ),
        (4, "contract", None, "padded", "padded: has more than the 4 characters that character(4) takes"),
        (5, "contract", None, "code", "code: has more than the 4 characters that character varying(4) takes"),
        (6, "copy", "23514", "code", "refused by the server: check violation (SQLSTATE 23514), constraint code_check"),
        (
            7,
            "copy",
            "23514",
            'Größe in %, "m"',
            "refused by the server: check violation (SQLSTATE 23514), constraint money_check",
        ),
    ]


def test_a_row_that_text_copy_stumbles_over_is_found_among_line_breaks(database: str, tmp_path: Path) -> None:
    rows = [{**WRITTEN_ROW, "number": number, "a_char": "\n\r\t\\"} for number in range(40)]
    rows[3]["a_range"] = "[5,1)"
    rows[17]["words"] = "'no end\n"  # a syntax error, as the server calls it
    rows[18]["some_bits"] = "1\n1"
    rows[39]["a_path"] = "$.\x01?"
    write(tmp_path, rows)

    report = load_one(database, WRITTEN, tmp_path, "all")

    assert (report.error, report.written_rows, report.dead_lettered_rows) == (None, 36, 4)
    letters = fetch(database, "select row_no, column_name, sqlstate, reason from rowledger.dead_letter order by row_no")
    assert [tuple(letter)[:3] for letter in letters] == [
        (3, "a_range", "22000"),
        (17, "words", "42601"),
        (18, "some_bits", "22P02"),
        (39, "a_path", "42601"),
    ]
    assert not any("no end" in letter["reason"] for letter in letters)
    assert {row["a_char"] for row in texts_of(database, "written")} == {"\n\r\t\\"}


class Keyed(BaseModel):
    email: Annotated[str, pg_type("citext")]
    amount: Decimal
    span: Annotated[str, pg_type("int4range")]
    code: Annotated[str, char(4)]
    document: Annotated[str, pg_type("jsonb")]
    number: Integer


def keyed(*key: str) -> TableSpec:
    return TableSpec(
        name="keyed",
        row=Keyed,
        source=ParquetFiles(path="{landing}/rows.parquet"),
        key=key,
        dead_letters=_TOLERANT,
    )


BY_EMAIL, BY_AMOUNT, BY_SPAN, BY_CODE, BY_DOCUMENT, BY_ALL = (
    keyed("email"), keyed("amount"), keyed("span"), keyed("code"), keyed("document"), keyed("code", "amount", "email", "span"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "field", "values", "surplus"),
    [
        (BY_EMAIL, "email", ["a@x", "b@x", "A@X", "c@x", "a@X"], {2, 4}),
        (BY_AMOUNT, "amount", ["1.5", "2", "1.50", "1.500", "15e-1"], {2, 3, 4}),
        (BY_SPAN, "span", ["[1,5)", "[2,5)", "[1,5)", "empty", "[3,)"], {2}),
        (BY_CODE, "code", ["a", "b", "a  ", "c", "d"], {2}),
        (
            BY_DOCUMENT,
            "document",
            ['{"b":1.50,"a":"é"}', "1", '{"a": "\\u00e9", "b": 1.5}', '{"b":15e-1,"a":"é"}', "-0", "10e-1", "0"],
            {2, 3, 5, 6},
        ),
        (BY_ALL, "email", ["a@x", "b@x", "A@X", "c@x", "d@x"], {2}),
    ],
)
def test_rows_share_a_key_when_the_server_says_so(
    database: str, tmp_path: Path, spec: TableSpec, field: str, values: list[str], surplus: set[int]
) -> None:
    fetch(database, "create extension citext")
    row = {"email": "x@x", "amount": "7", "span": "[1,2)", "code": "x", "document": "7", "number": 0}
    write(tmp_path, [{**row, field: value, "number": number} for number, value in enumerate(values)])

    report = load_one(database, spec, tmp_path, "all")

    assert report.error is None
    letters = fetch(database, "select row_no, stage from rowledger.dead_letter")
    assert {tuple(letter) for letter in letters} == {(row_no, "key") for row_no in surplus}
    kept = {found[0] for found in fetch(database, "select number from keyed")}
    assert kept == set(range(len(values))) - surplus


class Rewritten(BaseModel):
    """Texts of which the server's input functions may make another value."""

    number: Integer
    price: Annotated[str, pg_type("numeric(5,2)")]
    rate: Annotated[str, pg_type("real")]
    at: Annotated[str, pg_type("timestamptz")]
    clock: Annotated[str, pg_type("time(1)")]
    during: Annotated[str, pg_type("tstzrange")]
    days: Annotated[str, pg_type("daterange")]
    words: Annotated[str, pg_type("tsvector")]
    prices: Annotated[str, pg_type("numeric(5,2)[]")]
    amount: Annotated[str | None, pg_type("money")]
    letter: Annotated[str, pg_type('"char"')]
    relation: Annotated[str, pg_type("regclass")]
    numbers: Annotated[str, pg_type("int4range")]


REWRITTEN = TableSpec(
    name="rewritten", row=Rewritten, source=ParquetFiles(path="{landing}/rows.parquet"), dead_letters=_TOLERANT
)
REWRITTEN_ROW: dict[str, Any] = {
    "number": 0,
    "price": "1.5",
    "rate": "0.1",
    "at": "2024-03-10 02:30:00+00",
    "clock": "12:30:00.5",
    "during": '["2024-03-10 02:30:00+00",)',
    "days": "[2024-03-10,2024-03-12)",
    "words": "'a' 'b'",
    "prices": "{1.50,NULL}",
    "amount": None,
    "letter": "a",
    "relation": "pg_class",
    "numbers": "[1,3]",
}
REWRITES = [
    ("price", "1.239"),
    ("rate", "0.123456789"),
    ("at", "now"),
    ("at", "2024-03-10 02:30:00+05:45"),
    ("clock", "12:30:00.55"),
    ("during", "[now,)"),
    ("days", "[today,infinity)"),
    ("words", "b a a"),
    ("prices", "{1.239}"),
    ("amount", "1.239"),
    ("letter", "abc"),
    ("relation", "1259"),
]


def test_a_text_of_which_the_server_would_make_another_value_is_a_dead_letter(database: str, tmp_path: Path) -> None:
    rows = [REWRITTEN_ROW]
    for number, (name, text) in enumerate(REWRITES, start=1):
        rows += [{**REWRITTEN_ROW, "number": number, name: text}, {**REWRITTEN_ROW, "number": 100 + number}]
    rows.append({**REWRITTEN_ROW, "number": 200, "price": "no number"})
    pl.DataFrame(rows, schema_overrides={"amount": pl.String}).write_parquet(tmp_path / "rows.parquet")
    report = load_one(database, REWRITTEN, tmp_path, "all")
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (1 + len(REWRITES), len(REWRITES) + 1)
    letters = fetch(database, "select row_no, stage, column_name, reason from rowledger.dead_letter order by row_no")
    assert [(row["stage"], row["column_name"]) for row in letters] == [
        *(("copy", name) for name, _ in REWRITES),
        ("copy", "price"),
    ]
    assert all("as the server writes it" in row["reason"] for row in letters[:-1])
    stored = texts_of(database, "public.rewritten")
    assert {row["price"] for row in stored} == {"1.50"}
    assert {row["relation"] for row in stored} == {"pg_class"}
    assert {row["numbers"] for row in stored} == {"[1,4)"}
    assert {row["at"] for row in stored} == {"2024-03-10 02:30:00+00"}
    assert {row["words"] for row in stored} == {"'a' 'b'"}


def test_a_domain_over_a_type_that_rounds_rounds_nothing(database: str, tmp_path: Path) -> None:
    fetch(database, "create domain price as numeric(5,2)")
    fetch(database, "create table public.priced (number integer not null, price price)")
    pl.DataFrame({"number": [1, 2], "price": ["1.2", "1.239"]}).write_parquet(tmp_path / "rows.parquet")
    report = load_one(database, PRICED, tmp_path, "all")
    assert report.error is None
    assert (report.written_rows, report.dead_lettered_rows) == (1, 1)
    assert texts_of(database, "public.priced") == [{"number": "1", "price": "1.20"}]


class Priced(BaseModel):
    """A text in a domain."""

    number: Integer
    price: Annotated[str | None, pg_type("price")]


PRICED = TableSpec(
    name="priced", row=Priced, source=ParquetFiles(path="{landing}/rows.parquet"), dead_letters=_TOLERANT
)
