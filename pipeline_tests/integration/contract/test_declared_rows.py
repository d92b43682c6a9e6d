"""Tables whose columns are declared as data, through real loads: types, dead letters, replays and reruns."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one, set_failpoints
from pipeline_tests.support.replaying import assert_verified, edit, replay, results
from rowledger.ledger.table_specs import read_specs
from rowledger.sources.csv import CsvFiles
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec.table import DeadLetterBudget, TableSpec

COLUMNS: dict[str, Any] = {
    "a_smallint": "smallint",
    "an_integer": {"type": "integer", "source": "An Integer", "ge": -5},
    "a_bigint": "bigint",
    "a_real": "real",
    "a_double": {"type": "double", "nullable": True},
    "a_numeric": "numeric(10,2)",
    "any_numeric": "numeric",
    "a_boolean": "boolean",
    "a_text": {"type": "text", "pattern": "^[a-z]+$"},
    "a_varchar": "varchar(5)",
    "a_char": "char(4)",
    "a_date": {"type": "date", "ge": "2024-01-01"},
    "a_time": "time",
    "a_timestamp": "timestamp",
    "a_timestamp_of_milliseconds": "timestamp(3)",
    "a_timestamptz": "timestamptz",
    "an_interval": "interval",
    "a_uuid": "uuid",
    "an_inet": "inet",
    "a_cidr": "cidr",
    "a_bytea": "bytea",
    "a_json": "json",
    "a_jsonb": "jsonb",
    "a_mood": {"type": "enum(mood)", "choices": ["glad", "so so"]},
    "a_choice": {"type": "smallint", "choices": [1, 2]},
    "a_range": "int4range",
}
ROW = {
    "a_smallint": "-7", "An Integer": "-5", "a_bigint": "9007199254740993", "a_real": "0.5", "a_double": "0.1",
    "a_numeric": "1.10", "any_numeric": "1.23456789012345678901234567890123456789", "a_boolean": "true", "a_text": "abc",
    "a_varchar": "abcde", "a_char": "ab", "a_date": "2024-02-29", "a_time": "12:30:00.000001",
    "a_timestamp": "2024-02-29T12:30:00.000001", "a_timestamp_of_milliseconds": "2024-02-29T12:30:00.123",
    "a_timestamptz": "2024-02-29T12:30:00+02:00", "an_interval": "P1DT2H", "a_uuid": "c0ffee00-0000-4000-8000-000000000001",
    "an_inet": "10.1.2.3", "a_cidr": "10.0.0.0/8", "a_bytea": "bytes", "a_json": '{"a": 1.10}', "a_jsonb": "[1, 2]",
    "a_mood": "so so", "a_choice": "2", "a_range": "[1,5)",
}  # fmt: skip
EVENTS = {
    "id": "bigint",
    "kind": {"type": "text", "choices": ["in", "out"]},
    "amount": {"type": "numeric(8,2)", "ge": 0, "description": "In euros"},
    "note": {"type": "text", "nullable": True, "default": None},
}


def _typed(source: Any) -> TableSpec:
    return TableSpec.model_validate(
        {"name": "typed", "row": {"columns": COLUMNS}, "source": source, "key": ("a_bigint",)}
    )


def _events(**changes: Any) -> TableSpec:
    return TableSpec.model_validate(
        {
            "name": "events",
            "row": {"columns": EVENTS},
            "source": NdjsonFiles(path="{landing}/events.ndjson"),
            "key": ("id",),
            "dead_letters": DeadLetterBudget(rows_max=100, share_max=1),
            **changes,
        }
    )


def _write_events(landing: Path, rows: list[dict[str, object]]) -> None:
    (landing / "events.ndjson").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_every_declared_type_becomes_its_column_and_keeps_its_values(database: str, tmp_path: Path, kind: str) -> None:
    if kind == "csv":
        quoted = ['"' + value.replace('"', '""') + '"' for value in ROW.values()]
        (tmp_path / "rows.csv").write_text(f"{','.join(ROW)}\n{','.join(quoted)}\n", encoding="utf-8")
        spec = _typed(CsvFiles(path="{landing}/rows.csv"))
    else:
        (tmp_path / "rows.ndjson").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
        spec = _typed(NdjsonFiles(path="{landing}/rows.ndjson"))

    report = load_one(database, spec, tmp_path, "all")

    assert report.error is None
    assert report.counts.written_rows == 1
    [stored] = fetch(database, f"select {', '.join(f'{name}::text' for name in COLUMNS)} from public.typed")
    assert dict(stored) == {
        **{("an_integer" if name == "An Integer" else name): value for name, value in ROW.items()},
        "a_timestamp": "2024-02-29 12:30:00.000001",
        "a_timestamp_of_milliseconds": "2024-02-29 12:30:00.123",
        "a_timestamptz": stored["a_timestamptz"],
        "an_interval": "26:00:00",
        "an_inet": "10.1.2.3/32",
        "a_bytea": "\\x6279746573",
    }
    assert fetch_value(database, "select a_timestamptz = '2024-02-29T10:30Z' from public.typed")
    types = fetch(
        database,
        "select attname, format_type(atttypid, atttypmod) as type from pg_attribute "
        "where attrelid = 'public.typed'::regclass and attnum > 0 order by attnum",
    )
    assert [row["attname"] for row in types] == list(COLUMNS)
    assert [row["type"] for row in types][:4] == ["smallint", "integer", "bigint", "real"]
    assert_verified(database, spec)


def test_rows_that_break_a_declared_rule_are_dead_letters_and_can_be_edited_and_replayed(
    database: str, tmp_path: Path
) -> None:
    _write_events(
        tmp_path,
        [
            {"id": 1, "kind": "in", "amount": "1.50"},
            {"id": 2, "kind": "sideways", "amount": "1.50"},
            {"id": 3, "kind": "out", "amount": "-1", "note": "n"},
            {"id": 1, "kind": "out", "amount": "2"},
        ],
    )
    spec = _events()

    report = load_one(database, spec, tmp_path, "all")
    assert report.error is None
    assert (report.counts.written_rows, report.counts.dead_lettered_rows) == (1, 3)

    edit(database, spec, tmp_path, {1: {"kind": "in"}, 2: {"amount": "1.25"}, 3: {"id": 4}})
    replayed = replay(database, spec)

    assert set(results(replayed).values()) == {"written"}
    stored = fetch(database, "select id, kind, amount, note from public.events order by id")
    assert [tuple(row) for row in stored] == [
        (1, "in", Decimal("1.50"), None),
        (2, "in", Decimal("1.50"), None),
        (3, "out", Decimal("1.25"), "n"),
        (4, "out", Decimal("2.00"), None),
    ]
    assert_verified(database, spec)


def test_the_ledger_keeps_the_declaration_from_which_commands_rebuild_the_table(database: str, tmp_path: Path) -> None:
    _write_events(tmp_path, [{"id": 1, "kind": "in", "amount": "x"}, {"id": 2, "kind": "in", "amount": "1"}])
    spec = _events()
    load_one(database, spec, tmp_path, "all")

    [kept] = read_specs(database)
    rebuilt = TableSpec.from_json(kept.spec)

    assert rebuilt == spec
    assert_verified(database, rebuilt)


def test_a_killed_load_of_declared_columns_is_resumed_by_a_rerun(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_events(tmp_path, [{"id": number, "kind": "in", "amount": 1} for number in range(300)])
    set_failpoints(monkeypatch, "mid_copy=raise@chunk=1")
    first = load_one(database, _events(), tmp_path, "all")
    set_failpoints(monkeypatch, "")

    second = load_one(database, _events(), tmp_path, "all")

    assert first.error is not None
    assert second.error is None
    assert fetch_value(database, "select count(*) from public.events") == 300
    assert fetch_value(database, "select count(distinct load_id) from rowledger.chunk") == 1


def test_a_changed_rule_begins_a_new_load(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_events(tmp_path, [{"id": number, "kind": "in", "amount": 1} for number in range(300)])
    set_failpoints(monkeypatch, "mid_copy=raise@chunk=1")
    load_one(database, _events(), tmp_path, "all")
    set_failpoints(monkeypatch, "")

    changed = {**EVENTS, "amount": {"type": "numeric(8,2)", "ge": 1}}
    second = load_one(database, _events(row={"columns": changed}), tmp_path, "all")

    assert second.error is None
    assert fetch_value(database, "select count(*) from rowledger.load") == 2


def test_columns_with_names_that_no_field_may_have_are_loaded_refused_and_replayed(
    database: str, tmp_path: Path
) -> None:
    columns = {"_id": "bigint", "schema": {"type": "integer", "ge": 0}, "Sample No": {"type": "text", "source": "copy"}}
    spec = _events(row={"columns": columns}, key=("_id",))
    _write_events(tmp_path, [{"_id": 1, "schema": 2, "copy": "x"}, {"_id": 2, "schema": -2, "copy": "y"}])

    report = load_one(database, spec, tmp_path, "all")
    edit(database, spec, tmp_path, {1: {"schema": 3}})
    replayed = replay(database, spec)

    assert report.error is None
    assert report.counts.dead_lettered_rows == 1
    assert set(results(replayed).values()) == {"written"}
    stored = fetch(database, 'select "_id", "schema", "Sample No" from public.events order by 1')
    assert [tuple(row) for row in stored] == [(1, 2, "x"), (2, 3, "y")]
    assert_verified(database, spec)
