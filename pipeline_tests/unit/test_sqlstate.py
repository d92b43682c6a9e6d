"""Sorting of server errors, and what is passed on of them."""

import asyncpg
import pytest

from pipeline.postgres.sqlstate import Verdict, copy_location, is_connection_loss, sort_error, summarize


def _server_error(sqlstate: str, message: str = "it failed", **fields: str) -> asyncpg.PostgresError:
    letters = {"context": "W", "detail": "D", "constraint": "n", "column": "c", "table": "t", "schema": "s"}
    return asyncpg.PostgresError.new(
        {"S": "ERROR", "C": sqlstate, "M": message, **{letters[name]: value for name, value in fields.items()}}
    )


@pytest.mark.parametrize(
    ("sqlstate", "verdict"),
    [
        ("08000", Verdict.RETRY),
        ("08006", Verdict.RETRY),
        ("40001", Verdict.RETRY),
        ("40P01", Verdict.RETRY),
        ("53300", Verdict.RETRY),
        ("55P03", Verdict.RETRY),
        ("57014", Verdict.RETRY),
        ("57P01", Verdict.RETRY),
        ("57P02", Verdict.RETRY),
        ("57P03", Verdict.RETRY),
        ("25P03", Verdict.RETRY),
        ("22003", Verdict.ISOLATE),
        ("22021", Verdict.ISOLATE),
        ("23502", Verdict.ISOLATE),
        ("23505", Verdict.ISOLATE),
        ("23514", Verdict.ISOLATE),
        ("42P01", Verdict.STOP),
        ("42501", Verdict.STOP),
        ("28P01", Verdict.STOP),
        ("3D000", Verdict.STOP),
        ("53100", Verdict.STOP),
        ("XX000", Verdict.STOP),
    ],
)
def test_the_sqlstate_decides(sqlstate: str, verdict: Verdict) -> None:
    assert sort_error(_server_error(sqlstate)) is verdict


@pytest.mark.parametrize("sqlstate", ["P0001", "P0002", "P0004", "U0001", "ZZ9AB", "AB123"])
def test_what_a_trigger_or_a_check_raises_is_about_the_row_that_is_written_and_not_quoted(sqlstate: str) -> None:
    error = _server_error(sqlstate, "canary is bad")
    assert sort_error(error, writes_rows=True) is Verdict.ISOLATE
    assert sort_error(error) is Verdict.STOP
    assert "canary" not in summarize(error)


@pytest.mark.parametrize("sqlstate", ["42P01", "0A000", "53100", "XX000", "57014", "08006"])
def test_what_the_server_says_of_itself_is_about_no_row(sqlstate: str) -> None:
    assert sort_error(_server_error(sqlstate), writes_rows=True) is sort_error(_server_error(sqlstate))


@pytest.mark.parametrize("sqlstate", ["42601", "42P01", "P0001", "XX000"])
def test_an_input_function_that_dislikes_a_value_blames_its_row_and_is_not_quoted(sqlstate: str) -> None:
    context = 'COPY staging_7, line 3, column v: "canary"'
    error = _server_error(sqlstate, 'syntax error in tsvector: "canary"', context=context)

    assert sort_error(error) is Verdict.ISOLATE
    assert "canary" not in summarize(error)
    assert sort_error(_server_error(sqlstate, context="COPY staging_7, line 3")) is Verdict.STOP


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
    assert sort_error(error) is Verdict.RETRY
    assert is_connection_loss(error)


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("x"), AttributeError("y")])
def test_an_error_of_our_own_is_never_tried_again(error: Exception) -> None:
    assert sort_error(error) is Verdict.STOP
    assert not is_connection_loss(error)


def test_a_lock_timeout_is_no_lost_connection() -> None:
    assert not is_connection_loss(_server_error("55P03"))


@pytest.mark.parametrize(
    ("context", "line", "column"),
    [
        ("COPY staging_7, line 778, column v", 778, "v"),
        ('COPY staging_7, line 3, column v: "text"', 3, "v"),
        ("COPY staging_7, line 12", 12, None),
        ("COPY staging_7, Zeile 778, Spalte v", 778, "v"),
        ("COPY staging_7, ligne 778, colonne v", 778, "v"),
        ("COPY staging_7, línea 5, columna v", 5, "v"),
        ("SQL statement inside\nCOPY staging_12, line 4, column v", 4, "v"),
        ("COPY staging_7", None, None),
        ("PL/pgSQL function f() line 3 at RAISE", None, None),
        ("", None, None),
    ],
)
def test_the_row_of_a_failed_copy_is_read_in_any_language(context: str, line: int | None, column: str | None) -> None:
    found = copy_location(_server_error("22003", context=context))
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
    )
    text = summarize(error)
    assert "canary" not in text
    assert sqlstate in text
    assert "constraint t_name_check" in text
    assert "column name" in text


def test_a_summary_of_another_error_says_what_the_server_said() -> None:
    assert "permission denied for table t" in summarize(_server_error("42501", "permission denied for table t"))


def test_a_summary_is_one_line() -> None:
    assert summarize(ValueError("one\ntwo")) == "ValueError: one"
    assert summarize(ValueError()) == "ValueError"
