"""Which URL is used, and that no message shows its password."""

from pathlib import Path
from urllib.parse import quote

import psycopg2.extensions
import pytest
from hypothesis import given, strategies as st

from rowledger.errors import DatabaseUnavailable
from rowledger.postgres import server_url
from rowledger.postgres.server_url import check_url_shape, dagster_url, redact, split_password, target_url
from rowledger.settings import settings

GIVEN = "postgresql://user:secret@db.example:6543/flights"


@pytest.fixture
def _given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", GIVEN)
    settings.cache_clear()


@pytest.mark.usefixtures("_given")
def test_a_given_url_is_used_and_nothing_embedded_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_url, "embedded_server", lambda: pytest.fail("the embedded server was asked for"))
    assert target_url() == GIVEN


def test_without_a_given_url_the_embedded_server_of_the_home_folder_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROWLEDGER_HOME", str(tmp_path))
    monkeypatch.setattr(
        "rowledger.embedded.server.EmbeddedServer.ensure_running", lambda server: f"embedded in {server.home}"
    )
    settings.cache_clear()
    assert target_url() == f"embedded in {tmp_path / 'postgres'}"


@pytest.mark.usefixtures("_given")
def test_dagster_shares_the_target_database_in_a_schema_of_its_own() -> None:
    parsed = psycopg2.extensions.parse_dsn(dagster_url())
    assert parsed["options"] == "-csearch_path=dagster"
    assert (parsed["host"], parsed["port"], parsed["dbname"]) == ("db.example", "6543", "flights")
    assert parsed["password"] == "secret"


def test_options_already_in_the_url_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", f"{GIVEN}?options=-cwork_mem%3D8MB&sslmode=require")
    settings.cache_clear()
    parsed = psycopg2.extensions.parse_dsn(dagster_url())
    assert parsed["options"] == "-cwork_mem=8MB -csearch_path=dagster"
    assert parsed["sslmode"] == "require"


@pytest.mark.usefixtures("_given")
def test_a_second_variable_gives_dagster_a_database_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWLEDGER_DAGSTER_DATABASE_URL", "postgresql://elsewhere/dagster")
    settings.cache_clear()
    assert dagster_url() == "postgresql://elsewhere/dagster"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:secret@host/db",
        "postgresql+asyncpg://user:secret@host/db",
        "user:secret@host/db",
        "postgresql:user:secret@host/db",
        "postgresql:/user:secret@host/db",
        "postgresql:5432//user:secret@host/db",
        "secret",
        "postgresql://user:secret@host:port/db",
        "postgresql://user:secret@host:99999/db",
        "postgresql://user:0/secret@host/db?x=secret",
        "postgresql://user:secret@[::1/db",
        "postgresql://user:secret@host/db name",
        "postgresql://user:secret@host/db\n",
        "host=db.example password=secret",
        "",
    ],
)
def test_a_malformed_url_gets_one_line_without_the_password(url: str) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        check_url_shape(url, variable="ROWLEDGER_DATABASE_URL")
    message = str(caught.value)
    assert "secret" not in message
    assert "\n" not in message
    assert message.startswith("ROWLEDGER_DATABASE_URL")
    assert "expected postgresql://" in message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres://host",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://user:p%40ss@[::1]:5432/db",
        "postgresql://user@one:5432,two:5433/db?target_session_attrs=primary",
        "postgresql://%2Fvar%2Flib/db",
    ],
)
def test_what_libpq_accepts_is_let_through(url: str) -> None:
    psycopg2.extensions.parse_dsn(url)
    check_url_shape(url)


@given(st.text(min_size=1))
def test_no_encoded_password_survives_redaction(password: str) -> None:
    encoded = quote(password, safe="")
    url = f"postgresql://user:{encoded}@host:5432/db?sslmode=require&password={encoded}#x"
    assert redact(url) == "postgresql://user:***@host:5432/db?sslmode=require&password=***#x"


@pytest.mark.parametrize("password", ["p@ss", "a/b", "a:b", "a?b", "a#b", "a@b/c@d"])
def test_a_password_that_should_have_been_encoded_is_redacted_all_the_same(password: str) -> None:
    assert redact(f"postgresql://user:{password}@host/db") == "postgresql://user:***@host/db"


@pytest.mark.parametrize("start", ["postgresql:", "postgresql:/", "postgresql:5432//", "", "//"])
def test_a_url_whose_slashes_are_misplaced_is_shown_from_its_host_on(start: str) -> None:
    assert redact(f"{start}user:p@ss@host/db") == "***@host/db"


def test_a_url_without_password_is_left_alone() -> None:
    assert redact("postgresql://user@host:5432/db?sslmode=require") == "postgresql://user@host:5432/db?sslmode=require"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_the_password_is_split_off_and_decoded(password: str) -> None:
    encoded = quote(password, safe="")
    assert split_password(f"postgresql://user:{encoded}@host:5432/db?sslmode=require") == (
        "postgresql://user@host:5432/db?sslmode=require",
        password,
    )
    assert split_password(f"postgresql://user@host/db?password={encoded}") == ("postgresql://user@host/db", password)


def test_a_url_without_password_has_none_to_split_off() -> None:
    assert split_password("postgresql:///db?host=/run") == ("postgresql:///db?host=%2Frun", None)
