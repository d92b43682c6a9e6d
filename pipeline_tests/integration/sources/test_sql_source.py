"""Queries of other databases: exact values, bound parameters, and an end to every wait."""

import contextlib
import json
import math
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from pydantic import BaseModel, SecretStr

from pipeline_tests.support.assertions import assert_nothing_left_over
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import Recorder, load_one
from pipeline_tests.support.partitions import window_of_day
from pipeline_tests.support.pooler import Pooler
from pipeline_tests.support.tables_of_other_sources import QUERIED, SAMPLED
from pipeline_tests.support.waiting import wait_until
from rowledger.contract.check import Contract
from rowledger.errors import DiscrepancyFound, MissingExtra, SourceError
from rowledger.sources.copy_out import copy_out_of, plain_address
from rowledger.sources.sql import SqlQuery
from rowledger.spec.marked_types import DECIMAL_TEXT, DYNAMIC, UUID
from rowledger.spec.partition import Partition
from rowledger.spec.source import FAULT, LINE, SourceContext
from rowledger.spec.table import WriteMode

WHOLE = Partition(key="all")
DAY = Partition("2024-03-01", (window_of_day("at", "2024-03-01", "Europe/Berlin"),))


@pytest.fixture
def shop(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that a query is asked of."""
    monkeypatch.setenv("SHOP_URL", database)
    return database


@pytest.fixture
def any_shop(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database for queries that need nothing in it: making one for each takes longer than the query."""
    monkeypatch.setenv("SHOP_URL", server)


def frames_of(folder: Path, query: str, partition: Partition = WHOLE, **options: Any) -> list[pl.DataFrame]:
    """What is spooled, chunk by chunk, after a look whether its columns were foretold."""
    source = SqlQuery(query=query, url_variable="SHOP_URL", **options)
    descriptors = list(source.chunks(partition, SourceContext(folder, folder, 1_000)))
    frames = [source.read(descriptor) for descriptor in descriptors]
    assert [frame.schema for frame in frames] == [source.frame_schema(descriptor) for descriptor in descriptors]
    assert {descriptor.origin for descriptor in descriptors} <= {"query of SHOP_URL"}
    return frames


def rows_of(folder: Path, query: str, partition: Partition = WHOLE) -> list[tuple[Any, ...]]:
    return [row for frame in frames_of(folder, query, partition) for row in frame.rows()]


# ---- PostgreSQL: values -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("any_shop")
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("true", True),
        ("(-32768)::int2", -32768),
        ("9223372036854775807::int8", 2**63 - 1),
        ("0.1::float8", 0.1),
        ("'-infinity'::float4", -math.inf),
        (f"{'1' * 50}.10::numeric", "1" * 50 + ".10"),
        ("1.10::numeric(10,2)", "1.10"),
        ("1e-20::numeric", "0.00000000000000000001"),
        ("'NaN'::numeric", "nan"),
        ("'-Infinity'::numeric", "-inf"),
        ("null::numeric", None),
        ("'ä'::text", "ä"),
        ("'a'::char(3)", "a  "),
        ("'\\x00ff'::bytea", b"\x00\xff"),
        ("date '2024-02-29'", date(2024, 2, 29)),
        ("time '23:59:59.999999'", time(23, 59, 59, 999999)),
        ("'61626364-6566-6768-696a-6b6c6d6e6f70'::uuid", {UUID.fields[0].name: b"abcdefghijklmnop"}),
        ("null::uuid", None),
        ("date 'infinity'", "infinity"),
        ("date '-infinity'", "-infinity"),
        ("timestamp 'infinity'", "infinity"),
        ("timestamp '-infinity'", "-infinity"),
        ("timestamptz 'infinity'", "infinity"),
        ("timestamp '294276-12-31 23:59:59.999999'", "9224318015999999999 us since 1970-01-01"),
        ("timestamp '2024-03-01 12:00:00.123456'", datetime(2024, 3, 1, 12, 0, 0, 123456)),  # noqa: DTZ001, a local time
        ("timestamptz '2024-03-01 12:00:00+01'", datetime(2024, 3, 1, 11, tzinfo=UTC)),
        ("interval '1 year -3 days 1.5 seconds'", "P1Y-3DT1.5S"),
        ("interval '178000000 years'", "P178000000Y"),
        ("timetz '12:00:00+02'", "12:00:00+02"),
        ("inet '10.0.0.1/8'", "10.0.0.1/8"),
        ("inet '10.0.0.1'", "10.0.0.1"),
        ("inet '::1/128'", "::1"),
        ("cidr '10.0.0.1'", "10.0.0.1/32"),
        ("'x'::\"char\"", "x"),
        ("null::inet", None),
        ("int4range(1, 5)", "[1,5)"),
        ("b'101'", "101"),
        ("4294967295::oid", "4294967295"),
        ("point(1, 2)", "(1,2)"),
        ("null::int4range", None),
        ("""'{"a":  [1, 2.50]}'::json""", '{"a":  [1, 2.50]}'),
        ("""'{"a": 1}'::jsonb""", '{"a": 1}'),
    ],
)  # fmt: skip
def test_values_of_every_type_are_exact(tmp_path: Path, expression: str, value: object) -> None:
    assert rows_of(tmp_path, f"select {expression} as v") == [(value,)]


@pytest.mark.usefixtures("any_shop")
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("array[1, 2, null]", [1, 2, None]),
        ("array[array[1, 2], array[3, 4]]", [[1, 2], [3, 4]]),
        ("'[0:1]={1,2}'::int[]", [1, 2]),
        ("'{}'::int[]", []),
        ("array[1.50, 2.00::numeric]", [Decimal("1.50"), Decimal("2.00")]),
        ("array[1.50, 2::numeric]", [{DECIMAL_TEXT.fields[0].name: text} for text in ("1.50", "2")]),
        ("array['a \"quoted\", text{', null, 'NULL']", ['a "quoted", text{', None, "NULL"]),
        ("array['\\x00ff'::bytea, null, '\\x']", [b"\x00\xff", None, b""]),
        ("array[array['\\x01'::bytea]]", [[b"\x01"]]),
        ("array[0.1, 1, 'infinity']::float4[]", [0.10000000149011612, 1.0, math.inf]),
        ("array[0.1, 1e300]::float8[]", [0.1, 1e300]),
        ("array['61626364-6566-6768-696a-6b6c6d6e6f70'::uuid]", [{UUID.fields[0].name: b"abcdefghijklmnop"}]),
        ("array[date '2024-02-29', 'infinity']", ["2024-02-29", "infinity"]),
        ("array[interval '1 year 2.5 s']", ["P1YT2.5S"]),
        ("array[timestamptz '1890-01-01 00:00 Europe/Paris']", [datetime(1889, 12, 31, 23, 50, 39, tzinfo=UTC)]),
        ("null::int[]", None),
    ],
)  # fmt: skip
def test_arrays_are_lists_of_their_elements_values(tmp_path: Path, expression: str, value: object) -> None:
    assert rows_of(tmp_path, f"select 1 as n, {expression} as v") == [(1, value)]


class Ids(BaseModel):
    text: str
    content: bytes
    anything: Any
    contents: list[bytes]
    texts: list[str]


@pytest.mark.usefixtures("any_shop")
def test_a_uuid_is_its_text_or_its_bytes_as_the_field_wants_it(tmp_path: Path) -> None:
    text = "61626364-6566-6768-696a-6b6c6d6e6f70"
    one, many = f"'{text}'::uuid", f"array['{text}'::uuid]"

    (frame,) = frames_of(
        tmp_path, f"select {one} as text, {one} as content, {one} as anything, {many} as contents, {many} as texts"
    )

    (row,) = Contract.of(Ids).check(frame).good.to_dicts()
    assert (row["text"], row["content"], row["anything"]) == (text, b"abcdefghijklmnop", f'"{text}"')
    assert (row["contents"], row["texts"]) == ([b"abcdefghijklmnop"], [text])


@pytest.mark.usefixtures("any_shop")
@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("row(1, 'x')", '{"f1":1,"f2":"x"}'),
        ("array[row(1)]", '[{"f1":1}]'),
        ("array['NaN', 1.5]::numeric[]", "[NaN, 1.5]"),
        ("""array['{"k": 3.10000000000000000001}'::jsonb]""", '[{"k": 3.10000000000000000001}]'),
        ("null::record", None),
    ],
)
def test_records_and_what_no_list_holds_are_their_json_text(tmp_path: Path, expression: str, text: str | None) -> None:
    (frame,) = frames_of(tmp_path, f"select 1 as n, {expression} as v")

    assert frame["v"].dtype == DYNAMIC
    assert frame["v"].struct[0].to_list() == [text]


@pytest.mark.usefixtures("any_shop")
@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (
            "row('\\x6162'::bytea)",
            "is a record with bytea in it, or a text that looks like it; select its fields as columns",
        ),
        ("""array['{"k": 1, "k": 2}'::json]""", "has a key twice, or is nested too deeply"),
        ("time '24:00'", "is a time of day outside of 00:00 to 23:59:59.999999999"),
    ],
)
def test_a_value_that_no_column_holds_is_a_fault(tmp_path: Path, expression: str, reason: str) -> None:
    (frame,) = frames_of(tmp_path, f"select n, case when n = 2 then {expression} end as v from generate_series(1, 3) n")

    assert frame[FAULT].to_list() == [None, f"column 'v' {reason}", None]


def test_arrays_of_the_database_s_own_types_are_read_as_what_they_are_made_of(shop: str, tmp_path: Path) -> None:
    fetch(shop, "create domain raw as bytea")
    fetch(shop, "create domain tiny as float4")
    fetch(shop, "create type mood as enum ('ok', 'not ok')")
    query = "select array['\\x41']::raw[] as r, array[0.1]::tiny[] as t, array['not ok']::mood[] as m"

    assert rows_of(tmp_path, query) == [([b"A"], [0.10000000149011612], ["not ok"])]


class Part(BaseModel):
    name: str
    price: Decimal


class Assembled(BaseModel):
    words: list[str]
    cheap: list[str | None]
    parts: list[Part]
    anything: Any


def test_composites_in_an_array_are_text_and_json_for_a_document(shop: str, tmp_path: Path) -> None:
    fetch(shop, "create type part as (name text, price numeric)")
    fetch(shop, "create domain cheap_part as part check ((value).price < 10)")
    many = "array[row('a, \"b\"', 1.50)::part, row('c', null)::part]"
    source = SqlQuery(
        query=f"select {many} as words, array[row('d', 2.0)::cheap_part, null::cheap_part] as cheap, "
        "array[row('e', 3.00)::part] as parts, array[row('f', 4.0)::part] as anything",
        url_variable="SHOP_URL",
    )
    documents = Contract.of(Assembled).documents
    (descriptor,) = source.chunks(WHOLE, SourceContext(tmp_path, tmp_path, 1_000, documents=documents))

    checked = Contract.of(Assembled).check(source.read(descriptor))

    assert checked.rejected == []
    (row,) = checked.good.to_dicts()
    assert row["words"] == ['("a, ""b""",1.50)', "(c,)"]
    assert row["cheap"] == ["(d,2.0)", None]
    assert json.loads(row["parts"]) == [{"name": "e", "price": "3.00"}]
    assert json.loads(row["anything"], parse_float=str) == [{"name": "f", "price": "4.0"}]


@pytest.mark.usefixtures("any_shop")
def test_a_numeric_is_a_number_where_it_becomes_a_document(tmp_path: Path) -> None:
    source = SqlQuery(query="select 12345678901234567890.50 as v, 1.50 as w", url_variable="SHOP_URL")
    (descriptor,) = source.chunks(WHOLE, SourceContext(tmp_path, tmp_path, 1_000, documents=frozenset({"v"})))

    frame = source.read(descriptor)

    assert (frame["v"].struct[0].to_list(), frame["w"].to_list()) == (["12345678901234567890.50"], ["1.50"])


def test_enums_and_columns_of_odd_names_are_read(shop: str, tmp_path: Path) -> None:
    fetch(shop, """create type "Mood" as enum ('ok', 'not "ok"')""")

    assert rows_of(tmp_path, 'select \'not "ok"\'::"Mood" as "a ""b""", 7 as "Größe" -- so odd') == [('not "ok"', 7)]


@pytest.mark.usefixtures("any_shop")
def test_the_rows_keep_the_query_s_order_also_when_columns_are_converted(tmp_path: Path) -> None:
    query = "select n, array[n] as a from generate_series(1, 5000) n order by n % 7, n desc;  "

    rows = rows_of(tmp_path, query)

    assert [row[0] for row in rows] == sorted(range(1, 5001), key=lambda n: (n % 7, -n))


@pytest.mark.usefixtures("any_shop")
def test_no_rows_are_no_chunks(tmp_path: Path) -> None:
    assert frames_of(tmp_path, "select 1 as n where false") == []


def test_a_large_result_comes_in_chunks_that_are_given_while_it_is_read(shop: str, tmp_path: Path) -> None:
    source = SqlQuery(
        query="select n, repeat('x', 100) as s from generate_series(1, 400000) n", url_variable="SHOP_URL"
    )
    coming = source.chunks(WHOLE, SourceContext(tmp_path, tmp_path, 1_000))
    first = next(coming)

    assert first.rows == 1_000
    assert len(list(tmp_path.iterdir())) == 1
    assert _source_sessions(shop) == 1
    coming.close()  # type: ignore[attr-defined] # it is a generator
    wait_until(lambda: not _source_sessions(shop), "the source's session is gone")


def _source_sessions(url: str) -> int:
    found: int = fetch_value(
        url,
        "select count(*) from pg_stat_activity where application_name = 'rowledger source' and datname = current_database()",
    )
    return found


# ---- PostgreSQL: the same rows by a COPY of text and by the driver ---------------------------------------------------------


_TEXTS = (
    "'', null, '\\N', '\\', E'a\\tb', E'a\\nb', E'\\r\\n', E'\\r', 'a\"b', '\"\"', 'ä', '😀', E'\\b\\f\\v\\x01', '\\.', '\\t', "
    "E'\\\\\\t', ',', ' x ', E'\\ufeff', 'NULL', E'\\u2028', '\\\\', '\\N\\N'"
)
_DATES = "'2024-02-29', null, '0001-01-01', '0044-03-15 BC', '4713-01-01 BC', '9999-12-31', '10000-01-01', '1890-06-01'"
_INFINITE = f"{_DATES}, 'infinity', '-infinity'"
_TIMES = "'2024-02-29 12:00:00.5', '1970-01-01 00:00:00.000001', '294276-12-31 23:59:59.999999'"


def _of(kind: str, values: str) -> str:
    return f"select v, n from unnest(array[{values}]::{kind}[]) with ordinality as u(v, n)"


_QUERIES = (
    _of("text", _TEXTS),
    _of("text", "repeat('x', 3000000), repeat(E'\\n', 1000000)"),
    f"select v from unnest(array[{_TEXTS}]) v",
    f"select v, w from unnest(array[{_TEXTS}]) v, (values (''), (null), ('\\')) as x(w)",
    "select E'\\ufeffx' as v, date 'infinity' as d",
    "select '' as v union all select null",
    _of("bytea", "'\\x', '\\x00ff', '\\x5c5c6e', null"),
    _of("numeric", "0, -0.0, 1.50, 1e-20, 'NaN', 'Infinity', '-Infinity', null, 1e30, 0.00"),
    _of("numeric", "12345678901234567890123456789012345678901234567890.12, -1.5"),
    _of("float8", "'NaN', 'Infinity', '-Infinity', '-0', '4.9e-324', '1.7976931348623157e308', 0.1, 1e16, null"),
    _of("float4", "'NaN', '-Infinity', '-0', '1e-45', '3.4028235e38', 0.1, 16777217, null"),
    "select (n * 7919 % 100003)::float8 / n as a, ((n * 7919 % 100003)::float8 / n)::float4 from generate_series(1, 5000) n",
    _of("date", f"{_DATES}, '4714-11-24 BC'"),
    _of("date", f"{_INFINITE}, '4714-11-24 BC'"),
    _of("timestamp", f"{_DATES}, '4714-11-24 BC'"),
    _of("timestamp", f"{_INFINITE}, {_TIMES}"),
    _of("time", "'00:00', '24:00', null, '23:59:59.999999', '12:00:00.5'"),
    _of("bool", "true, false, null"),
    _of("int8", "-9223372036854775808, 9223372036854775807, null"),
    "select (-32768)::int2 as a, (-2147483648)::int4 as b, null::int4 as c, null::uuid as d, null::date as e, null::bytea as f",
    _of("uuid", "'61626364-6566-6768-696a-6b6c6d6e6f70', null"),
    (
        "select 'a'::char(3) as a, 'c'::name as b, ''::\"char\" as c, interval '1 year -3 days' as d, inet '10.0.0.1' as e, "
        "point(1, 2) as f, int4range(1, 5) as g, E'{\"a\":\\n 1}'::json as h, '{\"a\": \"\\\\t\"}'::jsonb as i, b'101' as j"
    ),
    'select n as "a ""b", n as "Größe", n as "tab\tname" from generate_series(1, 3) n',
    (
        "select n, repeat(chr(n % 50 + 40), n % 300) as t, n / 7.0 as x, case when n % 5 = 0 then E'a\\\\b\\n' end as z, "
        "date '2024-01-01' - n as d from generate_series(1, 20000) n"
    ),
)
_INSTANTS = (
    _of("timestamptz", f"{_DATES}, {_TIMES}"),
    _of("timestamptz", _INFINITE),
    "select timestamptz '2024-01-01 00:00Z' + n * interval '1 hour 1.001 s' as e from generate_series(1, 20000) n",
)


@pytest.mark.usefixtures("any_shop")
@pytest.mark.parametrize(
    ("query", "zone"),
    [
        *((query, "UTC") for query in (*_QUERIES, *_INSTANTS)),
        *((query, zone) for query in _INSTANTS for zone in ("Africa/Monrovia", "Asia/Kathmandu", "Europe/Berlin")),
    ],
)
def test_a_copy_of_text_gives_the_rows_that_the_driver_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, zone: str
) -> None:
    partition = Partition("2024-03-01", (window_of_day("at", "2024-03-01", zone),))
    copied = _spooled(tmp_path / "copied", query, partition)
    monkeypatch.setenv("SHOP_URL", _for_the_driver(os.environ["SHOP_URL"]))

    driven = _spooled(tmp_path / "driven", query, partition)

    assert (copied[0], driven[0]) == ({True}, {False})
    assert copied[1] == driven[1]


def _for_the_driver(url: str) -> str:
    """The URL with a parameter that only libpq knows."""
    return f"{url}?gssencmode=disable"


def _spooled(folder: Path, query: str, partition: Partition) -> tuple[set[bool], list[Any]]:
    """Whether the chunks are text, and all columns with their types, dates as numbers: Python has no year 10000."""
    folder.mkdir()
    source = SqlQuery(query=query, url_variable="SHOP_URL")
    descriptors = list(source.chunks(partition, SourceContext(folder, folder, 100_000)))
    (frame,) = [source.read(descriptor) for descriptor in descriptors]
    kept = frame.columns if FAULT in frame.columns else source.frame_schema(descriptors[0]).names()
    columns = [(name, frame[name].dtype, list(map(repr, frame[name].to_physical().to_list()))) for name in kept]
    return {descriptor.text is not None for descriptor in descriptors}, columns


@pytest.mark.usefixtures("any_shop")
@pytest.mark.parametrize(
    "expression",
    [
        "array[1]",
        "row(1, 2)",
        "(select array[c] from pg_class c limit 1)",
        "pg_sleep(0)",
        "'{1}'::int2vector",
        "$1::int",
    ],
)
def test_what_a_text_does_not_say_all_about_is_left_to_the_driver(expression: str) -> None:
    assert _types_of_copy(f"select 1 as n, {expression} as v") is None


def test_types_that_only_bear_a_known_name_are_left_to_the_driver(shop: str) -> None:
    fetch(shop, "create schema own")
    fetch(shop, "create type own.date as enum ('x')")
    fetch(shop, "create type own._under as enum ('x')")
    fetch(shop, "create type own.part as (a int, b int)")
    fetch(shop, "create domain own.parts as own.part")
    fetch(shop, "create domain own.price as numeric(10, 2)")
    fetch(shop, "create type own.mood as enum ('ok')")

    for value in ("'x'::own.date", "'x'::own._under", "row(1, null)::own.part", "row(1, 2)::own.parts"):
        assert _types_of_copy(f"select {value} as v") is None
    assert _types_of_copy("select 1::own.price as p, 'ok'::own.mood as m") == {"p": "numeric", "m": "mood"}


def _types_of_copy(query: str) -> dict[str, str] | None:
    copy = copy_out_of("SHOP_URL", timezone="UTC", connect_timeout_s=10, row_security=False)
    assert copy is not None
    with contextlib.closing(copy):
        assert copy.connect()
        return copy.execute(query, {})


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("postgresql://user@one,two/shop", {}),
        ("postgresql://user@localhost", {}),
        ("postgresql:///shop", {}),
        ("postgresql://user@localhost/shop?service=other", {}),
        ("postgresql://user@localhost/shop?sslmode=require&channel_binding=require", {}),
        ("postgresql://user@localhost/shop", {"PGOPTIONS": "-c search_path=other"}),
        ("postgresql://user@localhost/shop", {"PGSERVICE": "other"}),
    ],
)
def test_a_url_that_libpq_may_understand_in_another_way_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str]
) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    assert plain_address(SecretStr("postgresql://user@localhost/shop?sslmode=require&connect_timeout=3")) is not None
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert plain_address(SecretStr(url)) is None


@pytest.mark.parametrize("shares_backend", [False, True])
def test_a_query_is_copied_through_a_pooler_too(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shares_backend: bool
) -> None:
    with Pooler(shop, shares_backend=shares_backend, forgets_settings=True) as pooler:
        monkeypatch.setenv("SHOP_URL", pooler.url)
        query = "select n, current_setting('intervalstyle') as s, 1.50 as x from generate_series(1, 3) n"
        copied, columns = _spooled(tmp_path / "copied", query, WHOLE)

    assert copied == {True}
    assert [values for _, _, values in columns] == [["1", "2", "3"], ["'iso_8601'"] * 3, ["'1.50'"] * 3]


@pytest.mark.usefixtures("any_shop")
def test_the_same_rows_have_the_same_chunks_and_digests_in_every_run(tmp_path: Path) -> None:
    query = "select n, repeat(E'\\n', n % 100) as t from generate_series(1, 50000) n"
    source = SqlQuery(query=query, url_variable="SHOP_URL")
    runs = []
    for number, rows_max in enumerate((7_000, 7_000, 11_000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        chunks = list(source.chunks(WHOLE, SourceContext(folder, folder, rows_max)))
        runs.append([(chunk.rows, chunk.file_digest, chunk.rows_digest) for chunk in chunks])

    assert runs[0] == runs[1]
    assert [rows for rows, _, _ in runs[2]] == [11_000] * 4 + [6_000]
    assert runs[2][-1][2] == runs[0][-1][2]


# ---- PostgreSQL: what the server, the database and the role have set ---------------------------------------------------


@pytest.fixture
def encoded_shop(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Makes a database of another encoding, which queries are asked of from then on."""
    names: list[str] = []

    def make(encoding: str) -> str:
        names.append(f"rowledger_shop_{uuid.uuid4().hex[:12]}")
        fetch(server, f"create database {names[-1]} encoding '{encoding}' locale 'C' template template0")
        url = urlunsplit(urlsplit(server)._replace(path=f"/{names[-1]}"))
        monkeypatch.setenv("SHOP_URL", url)
        return url

    yield make
    for name in names:
        fetch(server, f"drop database {name} with (force)")


@pytest.mark.parametrize(
    ("encoding", "texts"), [("LATIN1", ["Ã©", "é"]), ("WIN1251", ["Ж"]), ("EUC_JP", ["日本"]), ("SQL_ASCII", ["Ã©é"])]
)
def test_texts_are_what_they_are_in_a_database_of_any_encoding(
    encoded_shop: Callable[[str], str], tmp_path: Path, encoding: str, texts: list[str]
) -> None:
    url = encoded_shop(encoding)
    fetch(url, "create table t (v text, w text[])")
    for text in texts:
        fetch(url, "insert into t values ($1, array[$1])", text)

    rows = rows_of(tmp_path, f"select v, w, v = '{texts[0]}' from t")

    assert rows == [(text, [text], text == texts[0]) for text in texts]


def test_a_text_that_is_no_utf8_is_a_fault(encoded_shop: Callable[[str], str], tmp_path: Path) -> None:
    url = encoded_shop("SQL_ASCII")
    fetch(url, "create table t (v text, w text[])")
    fetch(url, "insert into t values ('a', '{a}'), (convert_from('\\xff', 'sql_ascii'), null)")
    fetch(url, "insert into t values ('b', array[convert_from('\\xff', 'sql_ascii')])")

    (frame,) = frames_of(tmp_path, "select v, w from t")

    assert frame["v"].to_list() == ["a", None, "b"]
    not_utf8 = "has a text that is not valid UTF-8"
    assert frame[FAULT].to_list() == [None, f"column 'v' {not_utf8}", f"column 'w' {not_utf8}"]
    assert frame[LINE][1] == b'{"v": {"base64": "/w=="}, "w": null}'


@pytest.mark.parametrize("text", ["\\x61ff62", "\\xff5c6e5c740a5c", "\\xff0a"])
def test_a_damaged_text_of_a_database_in_utf8_is_a_fault(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    fetch(shop, "create table t (n int, v bytea, w text)")
    fetch(shop, "insert into t values (1, 'a', E'b\\n\\\\n'), (2, $1, null), (3, null, '')", bytes.fromhex(text[2:]))
    fetch(shop, "update pg_attribute set atttypid = 'text'::regtype where attrelid = 't'::regclass and attname = 'v'")

    (copied,) = frames_of(tmp_path, "select * from t order by n")

    assert copied["v"].to_list() == ["a", None, None]
    assert copied["w"].to_list() == ["b\n\\n", None, ""]
    assert copied[FAULT].to_list() == [None, "column 'v' has a text that is not valid UTF-8", None]
    monkeypatch.setenv("SHOP_URL", _for_the_driver(shop))
    (driven,) = frames_of(tmp_path, "select * from t order by n")
    assert driven.rows() == copied.rows()


def test_settings_of_the_role_change_no_value(shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "client_encoding": "LATIN1", "datestyle": "German, DMY", "intervalstyle": "sql_standard", "timezone": "Asia/Tokyo",
        "bytea_output": "escape", "xmlbinary": "hex", "extra_float_digits": "-15", "array_nulls": "off",
        "standard_conforming_strings": "off", "quote_all_identifiers": "on", "default_transaction_isolation": "serializable",
        "default_transaction_deferrable": "on", "backslash_quote": "on", "lc_monetary": "C", "escape_string_warning": "off",
    }  # fmt: skip
    with role_of(shop, settings) as url:
        monkeypatch.setenv("SHOP_URL", url)
        query = (
            "select 'ä' as a, '\\x00ff'::bytea as b, array['\\x00ff'::bytea] as c, interval '1 day 2 hours' as d, "
            "array[timestamptz '2024-01-01 00:00Z'] as e, '{1,NULL}'::int[] as f, 0.1::float8::text as g, "
            "'pg_class'::regclass as h, (timestamptz '2024-01-01 00:00Z')::text as i"
        )
        rows = rows_of(tmp_path, query)

    new_year = datetime(2024, 1, 1, tzinfo=UTC)
    assert rows == [
        ("ä", b"\x00\xff", [b"\x00\xff"], "P1DT2H", [new_year], [1, None], "0.1", "pg_class", "2024-01-01 00:00:00+00")
    ]


@contextmanager
def role_of(shop: str, settings: Mapping[str, str]) -> Iterator[str]:
    """The URL of the shop for a role that has these settings and may read all tables."""
    role = f"reader_{uuid.uuid4().hex[:12]}"
    fetch(shop, f"create role {role} login password 'secret'")
    fetch(shop, f"grant pg_read_all_data to {role}")
    for name, value in settings.items():
        fetch(shop, f"alter role {role} set {name} = {value!r}")
    try:
        parts = urlsplit(shop)
        yield urlunsplit(parts._replace(netloc=f"{role}:secret@{parts.hostname}:{parts.port}"))
    finally:
        fetch(shop, f"drop role {role}")


def test_rows_that_a_policy_hides_are_an_error_unless_they_are_meant(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(shop, "create table secrets (n int)")
    fetch(shop, "insert into secrets values (1), (2)")
    fetch(shop, "alter table secrets enable row level security")
    fetch(shop, "create policy odd on secrets using (n % 2 = 1)")
    with role_of(shop, {"row_security": "on"}) as url:
        monkeypatch.setenv("SHOP_URL", url)
        with pytest.raises(
            SourceError, match=r'policy for table "secrets" \(SQLSTATE 42501\); row_security=True reads'
        ):
            frames_of(tmp_path, "select n from secrets")
        (frame,) = frames_of(tmp_path, "select n from secrets", row_security=True)

    assert frame.rows() == [(1,)]


@pytest.mark.parametrize("setting", ["statement_timeout", "transaction_timeout"])
def test_a_timeout_of_the_role_is_named(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    if setting == "transaction_timeout" and fetch_value(shop, "show server_version_num") < "170000":
        pytest.skip("the server does not have it")
    with role_of(shop, {setting: "300ms"}) as url:
        monkeypatch.setenv("SHOP_URL", url)
        words = setting.replace("_", " ")
        with pytest.raises(SourceError, match=f"due to {words}, a setting of the server, the database or the role"):
            frames_of(tmp_path, "select pg_sleep(0.1)::text, n from generate_series(1, 100) n")


# ---- PostgreSQL: parameters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_bounds_are_those_of_the_partition_in_its_time_zone(shop: str, tmp_path: Path, kind: str) -> None:
    fetch(shop, f"create table visits (at {kind})")
    midnight = "timestamptz '2024-02-29 00:00+01'" if kind == "timestamptz" else "timestamp '2024-02-29 00:00'"
    fetch(shop, f"insert into visits select {midnight} + n * interval '1 hour' from generate_series(0, 71) n")

    rows = rows_of(tmp_path, "select at from visits where at >= {lower} and at < {upper} order by 1", DAY)

    assert len(rows) == 24
    day = datetime(2024, 3, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert rows[0][0] == {"timestamptz": day, "timestamp": day.replace(tzinfo=None), "date": day.date()}[kind]


@pytest.mark.usefixtures("any_shop")
def test_a_key_is_bound_and_never_part_of_the_query(tmp_path: Path) -> None:
    hostile = Partition(key="x'; drop table t; --")

    rows = rows_of(tmp_path, "select {partition_key} as key, '{a,b}'::text[] as other, '{}' as braces", hostile)

    assert rows == [(hostile.key, ["a", "b"], "{}")]


@pytest.mark.usefixtures("any_shop")
def test_the_keys_of_several_dimensions_are_bound_by_their_names(tmp_path: Path) -> None:
    partition = Partition(key="de|x", dimensions=(("country", "de"), ("odd name", "x")))

    rows = rows_of(tmp_path, "select {country} as c, {odd name} as o, {partition_key} as k", partition)

    assert rows == [("de", "x", "de|x")]


@pytest.mark.usefixtures("any_shop")
def test_bounds_that_a_partition_does_not_have_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"the query has \['lower'\], but partition 'all' is not one window of time"):
        frames_of(tmp_path, "select 1 where {lower} is null")


def test_a_query_cannot_write(shop: str, tmp_path: Path) -> None:
    fetch(shop, "create table t (n int)")
    fetch(shop, "create function f() returns int language sql as 'insert into t values (1) returning n'")

    with pytest.raises(SourceError, match="failed: cannot execute INSERT in a read-only transaction"):
        frames_of(tmp_path, "select f()")


# ---- PostgreSQL: what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "select a_name from nowhere",
            r'SHOP_URL: executing the query failed: relation "nowhere" does not exist \(SQLSTATE',
        ),
        ("select 1 as a, 2 as a", r"the query gives several columns named \['a'\]"),
        ("selec 1", r'syntax error at or near "selec" \(SQLSTATE 42601\)'),
        ("select 'a secret'::text::int", "failed: .*SQLSTATE 22P02"),
        ("select 1 / (10000 - n) as n from generate_series(1, 20000) n", "waiting for rows failed: division by zero"),
    ],
)
def test_what_the_server_refuses_is_told_without_values(shop: str, tmp_path: Path, query: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        frames_of(tmp_path, query)
    assert "a secret" not in str(raised.value)
    assert raised.value.__context__ is None
    wait_until(lambda: not _source_sessions(shop), "the source's session is gone")


@pytest.mark.usefixtures("any_shop")
def test_more_columns_than_the_limit_are_refused_with_both_figures(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gives 2 columns, the limit is 1 \(columns_max\)"):
        frames_of(tmp_path, "select 1 as a, 2 as b", columns_max=1)


def test_a_query_that_gives_nothing_in_time_is_cancelled(shop: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"SHOP_URL: (executing the query|waiting for rows) took longer than 0\.5 s"):
        frames_of(tmp_path, "select 1 as n from pg_sleep(600)", fetch_timeout_s=0.5)
    wait_until(lambda: not _source_sessions(shop), "the source's session is gone")


def test_a_query_that_is_given_up_in_its_middle_is_cancelled(shop: str, tmp_path: Path) -> None:
    source = SqlQuery(
        query="select n, case when n = 200000 then pg_sleep(600)::text else repeat('x', 100) end as s "
        "from generate_series(1, 300000) n",
        url_variable="SHOP_URL",
    )
    coming = source.chunks(WHOLE, SourceContext(tmp_path, tmp_path, 1_000))
    next(coming)

    coming.close()  # type: ignore[attr-defined] # it is a generator

    wait_until(lambda: not _source_sessions(shop), "the source's session is gone")


def test_a_connection_that_is_lost_is_an_error(shop: str, tmp_path: Path) -> None:
    source = SqlQuery(
        query="select n, repeat('x', 100) as s from generate_series(1, 3000000) n", url_variable="SHOP_URL"
    )
    coming = source.chunks(WHOLE, SourceContext(tmp_path, tmp_path, 1_000))
    next(coming)
    fetch(
        shop,
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name = 'rowledger source' and datname = current_database()",
    )

    with pytest.raises(SourceError, match="SHOP_URL: waiting for rows failed"):
        list(coming)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "the environment variable SHOP_URL is not set"),
        ("mysql://user:a-secret@localhost/x", "SHOP_URL holds no URL of a known kind"),
        (
            "user=x password=a-secret",
            "SHOP_URL holds no URL of a known kind; write postgresql://user:password@host:5432/",
        ),
        ("a-secret.db", r"no URL of a known kind; .*sqlite:///shop\.db \(a file in the .*sqlite:////data/shop\.db"),
        (
            "sqlite:///a-secret.db",
            r"unable to open database file: .*sqlite:///shop\.db is a file in the working directory",
        ),
        ("postgresql://user:a-secret@127.0.0.1:{port}/x", "SHOP_URL: connecting failed: Connection refused"),
        ("postgresql://user:a-secret@127.0.0.1:not-a-port/x", r"SHOP_URL: connecting failed"),
    ],
)
def test_a_url_that_leads_nowhere_is_told_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_port: int, url: str | None, message: str
) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("SHOP_URL", url.format(port=unused_port))

    with pytest.raises(SourceError, match=message) as raised:
        frames_of(tmp_path, "select 1 as n")
    assert "a-secret" not in str(raised.value)


@pytest.mark.usefixtures("any_shop")
def test_a_missing_driver_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "adbc_driver_postgresql", None)

    with pytest.raises(MissingExtra, match=r"pip install 'rowledger\[sql\]'"):
        frames_of(tmp_path, "select 1 as n")


# ---- SQLite -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """An SQLite database that a query is asked of."""
    file = tmp_path / "small shop.db"
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{file}")
    connection = sqlite3.connect(file)
    try:
        yield connection
    finally:
        connection.close()


def test_values_of_several_types_in_one_column_stay_what_they_are(
    small_shop: sqlite3.Connection, tmp_path: Path
) -> None:
    small_shop.execute("create table t (n, v)")
    values = [2**63 - 1, 1.5, "text", b"\xff", None, 2**53 + 1]
    small_shop.executemany("insert into t values (?, ?)", list(enumerate(values)))
    small_shop.execute("insert into t values (6, cast(x'ff41' as text))")
    small_shop.commit()

    (frame,) = frames_of(tmp_path, "select n, v from t order by n")

    assert frame["v"].struct[0].to_list() == [
        "9223372036854775807", "1.5", '"text"', '{"rowledger base64": "/w=="}', None, "9007199254740993",
        '{"rowledger base64": "/0E="}',
    ]  # fmt: skip


def test_parameters_are_bound_as_local_text(small_shop: sqlite3.Connection, tmp_path: Path) -> None:
    small_shop.execute("create table t (at text)")
    small_shop.executemany(
        "insert into t values (?)", [(f"2024-{day} 12:00:00",) for day in ("02-29", "03-01", "03-02")]
    )
    small_shop.commit()
    query = "select at, {partition_key} as key, {lower} as l from t where at >= {lower} and at < {upper}"

    assert rows_of(tmp_path, query, DAY) == [("2024-03-01 12:00:00", "2024-03-01", "2024-03-01 00:00:00")]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select * from nowhere", "executing the query failed: no such table: nowhere"),
        ("delete from t", "executing the query failed: OperationalError"),
        ("select 1 as a, 2 as a", "several columns named"),
    ],
)
def test_what_sqlite_refuses_is_told(small_shop: sqlite3.Connection, tmp_path: Path, query: str, message: str) -> None:
    small_shop.execute("create table t (n)")
    small_shop.commit()

    with pytest.raises(SourceError, match=message):
        frames_of(tmp_path, query)


def test_a_database_file_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{tmp_path}/nothing.db")

    with pytest.raises(SourceError, match="connecting failed: unable to open database file"):
        frames_of(tmp_path, "select 1 as n")
    assert not (tmp_path / "nothing.db").exists()


@pytest.mark.usefixtures("small_shop")
def test_an_endless_query_of_sqlite_is_interrupted(tmp_path: Path) -> None:
    threads = threading.active_count()
    endless = "with recursive r(n) as (select 1 union all select n + 1 from r) select max(n) as n from r"

    with pytest.raises(SourceError, match=r"took longer than 0\.3 s"):
        frames_of(tmp_path, endless, fetch_timeout_s=0.3)
    wait_until(lambda: threading.active_count() <= threads, "the query's thread is gone")


# ---- whole loads --------------------------------------------------------------------------------------------------------


def test_a_table_is_loaded_from_a_query_and_nothing_tells_the_password(shop: str, tmp_path: Path) -> None:
    fetch(shop, "create table shop_readings (sensor numeric, value numeric(10, 2))")
    fetch(shop, "insert into shop_readings select n, n / 4.0 from generate_series(1, 250) n")
    fetch(shop, "insert into shop_readings values (1.9, 7), (null, 8)")
    observer = Recorder()

    report = load_one(shop, QUERIED, tmp_path, "all", observer=observer)

    assert report.error is None
    assert (report.enqueued_rows, report.written_rows, report.dead_lettered_rows) == (252, 250, 2)
    assert fetch_value(shop, "select sum(value)::text from queried") == "7843.75"
    told = fetch_value(
        shop, "select string_agg(to_jsonb(c)::text, ' ') || (select string_agg(to_jsonb(d)::text, ' ') from "
        "rowledger.dead_letter d) from rowledger.chunk c",
    )  # fmt: skip
    assert "query of SHOP_URL" in told
    assert (urlsplit(shop).password or "no password") not in told + observer.text
    assert_nothing_left_over(shop)


@pytest.mark.parametrize("is_driven_first", [True, False])
@pytest.mark.parametrize("fingerprint", [True, False])
def test_rows_are_appended_once_in_whichever_way_their_query_is_read(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_driven_first: bool, fingerprint: bool
) -> None:
    fetch(shop, "create table shop_readings (sensor numeric, value numeric(10, 2))")
    fetch(shop, "insert into shop_readings select n, n / 4.0 from generate_series(1, 250) n")
    spec = QUERIED.model_copy(update={"write_mode": WriteMode.APPEND})
    urls = [_for_the_driver(shop), shop] if is_driven_first else [shop, _for_the_driver(shop)]
    monkeypatch.setenv("SHOP_URL", urls[0])
    assert load_one(shop, spec, tmp_path, "all", fingerprint=fingerprint).error is None
    again = load_one(shop, spec, tmp_path, "all", fingerprint=fingerprint)
    assert again.error is None
    assert "already appended by load 1" in " ".join(check.summary for check in again.checks)

    monkeypatch.setenv("SHOP_URL", urls[1])
    otherwise = load_one(shop, spec, tmp_path, "all", fingerprint=fingerprint)

    assert isinstance(otherwise.error, DiscrepancyFound)
    assert "were appended by load 1, which digested rows in another way" in str(otherwise.error)
    assert fetch_value(shop, "select count(*) from queried") == 250


def test_every_value_of_a_query_is_in_the_table_as_it_was_or_a_dead_letter(
    database: str, encoded_shop: Callable[[str], str], tmp_path: Path
) -> None:
    shop = encoded_shop("LATIN1")
    fetch(
        shop,
        "create table samples (n int, label text, opens time, since timestamptz, parts bytea[], scales real[], key uuid, "
        "anything uuid, amount numeric, document json, ratio numeric)",
    )
    sound = (
        "'Ã©', '12:00', '2024-01-01 00:00Z', array['\\x5c00ff'::bytea], array[0.1, 1e30], "
        "'61626364-6566-6768-696a-6b6c6d6e6f70', '61626364-6566-6768-696a-6b6c6d6e6f70', 12345678901234567890.50, "
        """'{"k": 12345678901234567890.5}', 0.5"""
    )
    for n, changes in enumerate(
        ["", "opens = '24:00'", "since = '-infinity'", """document = '{"k": 1, "k": 2}'""", "ratio = 9007199254740993"]
    ):
        fetch(shop, f"insert into samples values ({n}, {sound})")
        if changes:
            fetch(shop, f"update samples set {changes} where n = {n}")

    report = load_one(database, SAMPLED, tmp_path, "all")

    assert report.error is None
    assert (report.enqueued_rows, report.written_rows, report.dead_lettered_rows) == (5, 1, 4)
    (row,) = fetch(
        database,
        "select label, parts, scales::text, key, anything::text, jsonb_typeof(amount), amount::text, document::text, ratio "
        "from sampled",
    )
    uuid_text = "61626364-6566-6768-696a-6b6c6d6e6f70"
    assert tuple(row) == (
        "Ã©", [b"\\\x00\xff"], "{0.1,1e+30}", uuid_text, f'"{uuid_text}"', "number", "12345678901234567890.50",
        '{"k": 12345678901234567890.5}', 0.5,
    )  # fmt: skip
    letters = fetch(database, "select reason, payload::text from rowledger.dead_letter order by row_no")
    assert [letter["reason"].partition(":")[0] for letter in letters[1:]] == ["since", "document", "ratio"]
    assert '"since": "-infinity"' in letters[1]["payload"]
    assert "24:00:00" in str(tuple(letters[0]))
