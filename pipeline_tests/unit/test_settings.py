"""Settings: their bounds, and what is said when one is wrong."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from rowledger.installation import Settings
from rowledger.settings import WriterSettings, settings

_DOCUMENTED = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8").splitlines()


def test_the_defaults_are_within_their_bounds() -> None:
    WriterSettings.model_validate(WriterSettings().model_dump())


@pytest.mark.parametrize("name", list(WriterSettings.model_fields))
def test_each_setting_has_a_default_a_description_and_a_bound(name: str) -> None:
    field = WriterSettings.model_fields[name]
    assert not field.is_required()
    assert field.description
    assert field.description.endswith(".")
    if field.annotation in (int, float):
        assert {"Ge", "Gt"} & {type(bound).__name__ for bound in field.metadata}
        with pytest.raises(ValidationError, match=f"(?s){name}.*greater than"):
            WriterSettings.model_validate({name: -1})


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 65), ("chunk_rows_max", 0), ("batch_rows", 0), ("connect_timeout_s", 0), ("lease_s", 301)],
)
def test_a_value_out_of_bounds_is_named(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        WriterSettings.model_validate({name: value})


@pytest.mark.parametrize(("name", "value"), [("engine", "spark"), ("hosts_url_variable", "postgresql://me:pw@host/db")])
def test_a_text_of_another_form_is_named(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        WriterSettings.model_validate({name: value})


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ValidationError, match="chunk_row_max"):
        WriterSettings.model_validate({"chunk_row_max": 5})


def test_memory_limits_must_be_in_order() -> None:
    with pytest.raises(ValidationError, match=r"rss_soft_limit_bytes \(134217728\) exceeds rss_hard_limit_bytes"):
        WriterSettings(rss_soft_limit_bytes=2**27, rss_hard_limit_bytes=2**26)


def test_a_stall_must_be_longer_than_two_heartbeats() -> None:
    with pytest.raises(ValidationError, match=r"stall_timeout_s \(0.9\) must be at least twice heartbeat_s"):
        WriterSettings(heartbeat_s=0.5, stall_timeout_s=0.9)


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        WriterSettings().workers = 3  # type: ignore[misc]


def test_the_environment_names_the_server_and_its_password_stays_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", "postgresql://me:s3cret@host/db")
    settings.cache_clear()
    found = settings().database_url
    assert found is not None
    assert found.get_secret_value().endswith("host/db")
    assert "s3cret" not in repr(settings())


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", "")
    assert Settings.from_environment().database_url is None


def test_a_variable_s_name_may_be_written_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("rowledger_disk_free_min_bytes", "17")
    assert Settings.from_environment().disk_free_min_bytes == 17


def test_a_variable_that_is_no_value_of_its_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWLEDGER_DISK_FREE_MIN_BYTES", "-1")
    with pytest.raises(ValidationError, match="disk_free_min_bytes"):
        Settings.from_environment()


@pytest.mark.parametrize("name", list(WriterSettings.model_fields))
def test_the_documentation_has_each_setting_as_it_is(name: str) -> None:
    field = WriterSettings.model_fields[name]
    (row,) = [line for line in _DOCUMENTED if line.startswith(f"| `{name}` |")]
    default, meaning = (cell.strip() for cell in row.split("|")[2:5:2])
    assert meaning == field.description
    if isinstance(field.default, str):
        assert json.loads(default) == field.default
        return
    value, _, unit = default.partition(" ")
    assert json.loads(value) * {"": 1, "MiB": 2**20}[unit] == field.default
