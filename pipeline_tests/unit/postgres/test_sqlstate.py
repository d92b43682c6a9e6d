"""Sorting of server errors, and what is passed on of them."""

import traceback

import asyncpg
import pytest

from rowledger.errors import DatabaseUnavailable
from rowledger.postgres.sqlstate import (
    ErrorAction,
    copy_location,
    explain_refusal,
    identifiers,
    is_connection_loss,
    server_text,
    sort_error,
    summarize,
)
from rowledger.postgres.statements import hush, name_statement


def _server_error(sqlstate: str, message: str = "it failed", **fields: str) -> asyncpg.PostgresError:
    letters = {"context": "W", "detail": "D", "hint": "H", "constraint": "n", "column": "c", "table": "t", "file": "F"}
    return asyncpg.PostgresError.new(
        {"S": "ERROR", "C": sqlstate, "M": message, **{letters[name]: value for name, value in fields.items()}}
    )


@pytest.mark.parametrize(
    ("sqlstate", "verdict"),
    [
        ("08000", ErrorAction.RETRY),
        ("08006", ErrorAction.RETRY),
        ("40001", ErrorAction.RETRY),
        ("40P01", ErrorAction.RETRY),
        ("53300", ErrorAction.RETRY),
        ("55P03", ErrorAction.RETRY),
        ("57014", ErrorAction.RETRY),
        ("57P01", ErrorAction.RETRY),
        ("57P02", ErrorAction.RETRY),
        ("57P03", ErrorAction.RETRY),
        ("25P03", ErrorAction.RETRY),
        ("22003", ErrorAction.ISOLATE),
        ("22021", ErrorAction.ISOLATE),
        ("23502", ErrorAction.ISOLATE),
        ("23505", ErrorAction.ISOLATE),
        ("23514", ErrorAction.ISOLATE),
        ("42P01", ErrorAction.STOP),
        ("42501", ErrorAction.STOP),
        ("28P01", ErrorAction.STOP),
        ("3D000", ErrorAction.STOP),
        ("53100", ErrorAction.STOP),
        ("XX000", ErrorAction.STOP),
    ],
)
def test_the_sqlstate_decides(sqlstate: str, verdict: ErrorAction) -> None:
    assert sort_error(_server_error(sqlstate)) is verdict


@pytest.mark.parametrize(
    "sqlstate",
    ["P0001", "U0001", "42501", "55P03", "53300", "40001", "25P03", "58030", "08006", "57014", "57P01", "28P01"],
)
def test_what_a_function_of_the_database_raises_is_about_the_row_whatever_its_sqlstate(sqlstate: str) -> None:
    error = _server_error(
        sqlstate, "canary is bad", hint="canary", file="pl_exec.c", column="canary", constraint="canary"
    )
    assert sort_error(error, writes_rows=True) is ErrorAction.ISOLATE
    passes = sqlstate in {"55P03", "53300", "40001", "25P03", "57014", "57P01"}
    assert sort_error(error) is (ErrorAction.RETRY if passes else ErrorAction.STOP), (
        "where no row is written, the code counts"
    )
    assert not is_connection_loss(error)
    for told in (summarize(error), explain_refusal(error)):
        assert sqlstate in told
        assert "canary" not in told
    assert identifiers(error, ["label"]) == (None, None)
    assert identifiers(_server_error(sqlstate, file="pl_exec.c", column="label"), ["label"]) == ("label", None)
    assert "canary is bad" in server_text(error)


@pytest.mark.parametrize("sqlstate", ["53100", "57014", "08006", "40P01", "55P03", "25006", "58030", "28000", "XX001"])
def test_what_the_server_says_of_itself_is_about_no_row(sqlstate: str) -> None:
    error = _server_error(sqlstate, "canary", file="postgres.c")
    assert sort_error(error, writes_rows=True) is sort_error(error)
    assert sort_error(error) is not ErrorAction.ISOLATE
    assert "canary" not in summarize(error)


@pytest.mark.parametrize("sqlstate", ["42601", "42P01", "0A000", "54000", "55000", "XX000"])
def test_other_errors_may_be_about_a_row_while_rows_are_written(sqlstate: str) -> None:
    error = _server_error(sqlstate, 'syntax error in tsvector: "canary"')
    assert sort_error(error, writes_rows=True) is ErrorAction.ISOLATE
    assert sort_error(error) is ErrorAction.STOP
    assert "canary" not in summarize(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        EOFError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed"),
    ],
)
def test_a_lost_connection_is_tried_again_under_each_of_its_names(error: Exception) -> None:
    assert sort_error(error) is ErrorAction.RETRY
    assert is_connection_loss(error)


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("x"), AttributeError("y")])
def test_an_error_of_our_own_is_never_tried_again(error: Exception) -> None:
    assert sort_error(error) is ErrorAction.STOP
    assert not is_connection_loss(error)


def test_a_lock_timeout_is_no_lost_connection() -> None:
    assert not is_connection_loss(_server_error("55P03"))


class _ArgumentError(asyncpg.InterfaceError, ValueError):
    """As asyncpg raises it of an argument that it cannot encode."""


_CONTEXTS = {
    "C": "COPY {}, line {}, column {}",
    "de": "COPY {}, Zeile {}, Spalte {}",
    "es": "COPY {}, línea {}, columna {}",
    "fr": "COPY {}, ligne {}, colonne {}",
    "it": "COPY {}, riga {}, colonna {}",
    "ja": "{}のCOPY、行 {}、列 {}",
    "ka": "COPY {}, ხაზი {}, სვეტი {}",
    "ko": "{} 복사, {}번째 줄, {} 열",
    "ru": "COPY {}, строка {}, столбец {}",
    "sv": "COPY {}, rad {}, kolumn {}",
    "uk": "COPY {}, рядок {}, стовпець {}",
    "zh_CN": "COPY {}, 行 {}, 列 {}",
}
"""As PostgreSQL's message catalogues have it."""


@pytest.mark.parametrize("tail", ["", ': "1, 2, v: 3"', " : « 1, 2、3 »", ": null", '\nSQL statement "COPY v"'])
@pytest.mark.parametrize("context", _CONTEXTS.values(), ids=_CONTEXTS)
def test_the_row_of_a_failed_copy_is_read_in_any_language(context: str, tail: str) -> None:
    for table, column in (("staging_7", "v"), ("staging_12", "a b"), ("staging_3", "列、v, x")):
        told = f"PL/pgSQL function f() line 3 at RAISE\n{context.format(table, 778, column)}{tail}"
        found = copy_location(_server_error("22003", context=told), ["a", "v", "a b", "列、v, x"])
        assert (found.line, found.column) == (778, column)


@pytest.mark.parametrize(
    ("context", "line", "column"),
    [
        ("COPY staging_7, line 12", 12, None),
        ("staging_7のCOPY、行 12", 12, None),
        ('staging_7 복사, 12번째 줄: "v 열"', 12, None),
        ("SQL statement inside\nCOPY staging_12, line 4, column v", 4, "v"),
        ("COPY staging_7, line 4, column canary", 4, None),
        ("COPY staging_7", None, None),
        ("PL/pgSQL function f() line 3 at RAISE", None, None),
        ("", None, None),
    ],
)
def test_a_context_says_no_more_than_it_has(context: str, line: int | None, column: str | None) -> None:
    found = copy_location(_server_error("22003", context=context), ["v"])
    assert (found.line, found.column) == (line, column)


@pytest.mark.parametrize(
    ("context", "column"),
    [
        ("COPY staging_7, line 3, column ratio: a", "ratio: a"),
        ('COPY staging_7, line 3, column ratio: a: "x"', "ratio: a"),
        ('COPY staging_7, line 3, column ratio: "a: x"', "ratio"),
        ("COPY staging_7, line 3, column  blank\nSQL function f", " blank"),
        ("COPY staging_7, line 3, column two\nlines", "two\nlines"),
    ],
)
def test_a_column_s_name_may_hold_what_ends_it_elsewhere(context: str, column: str) -> None:
    names = ["ratio", "ratio: a", " blank", "two\nlines"]
    assert copy_location(_server_error("22003", context=context), names).column == column


def test_a_trigger_s_own_line_number_is_not_taken_for_the_row_s() -> None:
    context = "PL/pgSQL function f() line 99 at RAISE\nCOPY staging_7, line 2"
    assert copy_location(_server_error("23514", context=context)).line == 2


@pytest.mark.parametrize("sqlstate", ["22001", "22003", "22021", "23502", "23503", "23505", "23514"])
def test_a_summary_of_a_refused_row_holds_none_of_its_values(sqlstate: str) -> None:
    error = _server_error(
        sqlstate,
        'value "canary" is bad',
        detail="Key (name)=(canary) exists.",
        context='COPY t, line 1, column name: "canary"',
        constraint="t_name_check",
        column="name",
        table="t",
        file="execMain.c",
    )
    text = summarize(error)
    assert "canary" not in text
    assert sqlstate in text
    assert "constraint t_name_check" in text
    assert "column name" in text


def test_a_summary_names_the_statement_and_the_remedy_instead_of_what_the_server_says() -> None:
    error = _server_error("42501", "permission denied for table canary")
    error.rowledger_statement = 'insert into "depot"."parcels"'
    told = 'insufficient privilege (SQLSTATE 42501) in insert into "depot"."parcels", grant it to the role of the database URL'
    assert summarize(error) == told


@pytest.mark.parametrize("error", [ValueError("canary"), _ArgumentError("canary"), KeyError("canary"), ValueError()])
def test_a_summary_of_a_library_s_error_is_its_name(error: Exception) -> None:
    assert summarize(error) == type(error).__name__


def test_a_summary_is_one_line() -> None:
    assert summarize(ConnectionResetError("one\ntwo")) == "ConnectionResetError: one"


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ('insert into "a"."b" (x) select 1 from s on conflict (k) do update set x = 1', 'insert into "a"."b"'),
        ("with gone as (delete from only \"a\".\"b\" where k = 'from x; ''') select 1", 'delete from "a"."b"'),
        ("-- from: nowhere\nselect 1 from rowledger.load for update", "select from rowledger.load"),
        ('create table if not exists "a;b"."c ""d" (like x)', 'create table "a;b"."c ""d"'),
        ('lock table "a"."b" in share mode; drop table "a"."b"', 'lock table "a"."b"; drop table "a"."b"'),
        ("set local lock_timeout = '5s'", "set"),
        ("", ""),
    ],
)
def test_a_statement_is_named_without_its_literals(sql: str, name: str) -> None:
    assert name_statement(sql) == name


def test_an_error_is_hushed_wherever_it_is_printed_and_its_text_is_kept() -> None:
    error = _server_error("23514", "canary", detail="canary 2", hint="canary 3", context="COPY t, line 1")
    said = server_text(error)
    hush(hush(error))
    printed = "".join(traceback.format_exception(error)) + repr(error)
    assert "CheckViolationError: SQLSTATE 23514" in printed
    assert "canary" not in printed
    assert server_text(error) == said == "message: canary\ndetail: canary 2\nhint: canary 3\ncontext: COPY t, line 1"


def test_an_error_of_our_own_speaks_for_itself() -> None:
    assert summarize(DatabaseUnavailable("1 connections are left")) == "DatabaseUnavailable: 1 connections are left"


def test_a_condition_is_named_in_the_words_of_postgresql() -> None:
    assert explain_refusal(asyncpg.ReadOnlySQLTransactionError("…")) == "read only sql transaction (SQLSTATE 25006)"
