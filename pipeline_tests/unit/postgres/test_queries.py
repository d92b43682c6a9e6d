"""Named SQL, migrations and identifiers."""

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from rowledger.errors import TargetMismatch
from rowledger.postgres.queries import (
    Migration,
    migrations,
    parse_queries,
    query,
    quote_identifier,
    read_migrations,
    together,
    with_numbers,
)


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_block_reaches_to_the_next_name(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "a.sql",
        "-- name: one\n-- The first.\nselect 1; -- really\n\n-- name: two\n-- The second.\nselect\n    2;\n",
    )
    assert parse_queries([path]) == {"one": "select 1; -- really", "two": "select\n    2;"}


def test_what_acts_on_other_sessions_is_no_condition() -> None:
    """The server may evaluate a condition for every row, those too that another condition leaves out."""
    acting = {
        name: sql
        for name, sql in parse_queries(sorted((Path(__file__).parents[3] / "sql" / "queries").glob("*.sql"))).items()
        if re.search(r"pg_(terminate|cancel)_backend\(", sql)
    }
    assert len(acting) == 4
    for name, sql in acting.items():
        selected, _, conditions = sql.rpartition("select ")[2].partition("from ")
        assert re.search(r"pg_(terminate|cancel)_backend\(", selected), name
        assert not re.search(r"pg_(terminate|cancel)_backend\(", conditions), name


def test_a_name_given_twice_is_refused_even_across_files(tmp_path: Path) -> None:
    block = "-- name: one\n-- A number.\nselect 1;\n"
    paths = [_file(tmp_path, "a.sql", block), _file(tmp_path, "b.sql", block)]
    with pytest.raises(ValueError, match=r"b\.sql: query one exists already"):
        parse_queries(paths)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: one\nselect 1;\n", "needs a line"),
        ("-- name: one\n-- Nothing follows.\n", "needs a line"),
        ("-- name: One thing\n-- A number.\nselect 1;\n", "query name 'One thing' must be"),
        ("-- name:\n-- A number.\nselect 1;\n", "query name '' must be"),
        ("select 0;\n-- name: one\n-- A number.\nselect 1;\n", "before the first"),
    ],
)
def test_an_ambiguous_file_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_queries([_file(tmp_path, "a.sql", text)])


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match=r"no query named 'nonsense'.*known: .*server_facts"):
        query("nonsense")


def test_the_projects_own_files_parse() -> None:
    assert query("server_facts").startswith("select")
    assert migrations()[0].version == 1


def test_every_migration_is_the_one_that_was_committed() -> None:
    """An edited migration differs from its line: change the ledger by a new one."""
    folder = Path(__file__).parents[3] / "sql" / "migrations"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: checksum for checksum, name in (line.split("  ") for line in lines)}
    assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.sql")}


def test_migrations_come_in_order(tmp_path: Path) -> None:
    _file(tmp_path, "0002_more.sql", "select 2;")
    _file(tmp_path, "0001_start.sql", "select 1;")
    assert read_migrations(tmp_path) == (Migration(1, "start", "select 1;"), Migration(2, "more", "select 2;"))


@pytest.mark.parametrize("names", [["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "0001_b.sql"], ["0002_a.sql"]])
def test_a_gap_or_a_double_in_the_versions_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        _file(tmp_path, name, "select 1;")
    with pytest.raises(ValueError, match="without gaps"):
        read_migrations(tmp_path)


def test_a_stray_file_among_the_migrations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NNNN_name"):
        read_migrations(_file(tmp_path, "ledger.sql", "select 1;").parent)


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=15))
def test_a_quoted_identifier_ends_where_it_should(name: str) -> None:
    quoted = quote_identifier(name)
    assert quoted[0] == quoted[-1] == '"'
    assert '"' not in quoted[1:-1].replace('""', "")
    assert quoted[1:-1].replace('""', '"') == name


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_no_identifier_can_hold_is_refused(name: str) -> None:
    with pytest.raises(TargetMismatch, match="PostgreSQL has no such name"):
        quote_identifier(name)


def test_a_name_that_the_server_would_cut_short_is_refused() -> None:
    assert quote_identifier("é" * 31 + "e") == f'"{"é" * 31}e"'
    with pytest.raises(TargetMismatch, match="has 64 bytes, and PostgreSQL keeps 63"):
        quote_identifier("é" * 32)


def test_numbers_take_the_place_of_parameters_in_a_message_of_several_statements() -> None:
    statement = with_numbers("lock_load", 12, 3)
    assert "load_id = 12 and epoch = 3" in statement
    assert "$" not in statement
    assert not statement.endswith(";")


def test_nothing_but_a_number_takes_the_place_of_a_parameter() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        with_numbers("lock_load", "1; drop table rowledger.load", 3)  # type: ignore[arg-type]


def test_queries_asked_together_are_the_named_ones_in_order() -> None:
    statement = together("recorded_plan", "chunk_totals")
    first, second = (query(name).rstrip(";") for name in ("recorded_plan", "chunk_totals"))
    assert first in statement
    assert statement.index(first) < statement.index(second)
    assert statement.index(") as recorded_plan") < statement.index(") as chunk_totals")
