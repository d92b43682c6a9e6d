"""Rows of dead letters as JSON texts: nothing of them changes on the way to a person and back but what the person changed."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given, strategies as st
from pydantic import AliasChoices, BaseModel, Field

from rowledger.contract.dead_letter import PayloadOf
from rowledger.dead_letters.rows import (
    REDACTED,
    hidden_columns,
    is_same_row,
    json_members,
    redact_row,
    restore_hidden,
)
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.table import TableSpec

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_ROWS = st.dictionaries(st.text(), _JSON, max_size=5)


class Person(BaseModel):
    """A row with a secret in it."""

    name: str
    ssn: Annotated[str, Field(alias="social security")]


PEOPLE = TableSpec(name="people", row=Person, source=ParquetFiles(path="{landing}/people.parquet"), sensitive=("ssn",))
OPEN_PEOPLE = PEOPLE.model_copy(update={"sensitive": ()})


@given(_ROWS, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_members_are_the_texts_of_the_values(row: dict[str, Any], indent: int | str | None, ascii_only: bool) -> None:  # noqa: FBT001
    text = json.dumps(row, indent=indent, ensure_ascii=ascii_only)
    members = json_members(f" {text}\n")
    assert {name: json.loads(value) for name, value in members.items()} == row
    assert list(members) == list(row)
    assert (
        redact_row(members, [])
        == "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in members.items()) + "}"
    )


@given(_ROWS, st.lists(st.text(), max_size=3))
def test_what_was_hidden_comes_back_as_it_was(row: dict[str, Any], more: list[str]) -> None:
    stored = json_members(json.dumps(row))
    hidden = [*list(row)[::2], *(name for name in more if name in row)]
    shown = redact_row(stored, hidden)
    assert all(json.loads(shown)[name] == "[redacted]" for name in hidden)
    assert is_same_row(restore_hidden(json_members(shown), stored, hidden), json.dumps(row))


def test_digits_are_kept_as_they_are_written() -> None:
    text = '{"a": 1.10, "b": 12345678901234567890.123456789012345678901, "c": 1E400}'
    assert json_members(text) == {"a": "1.10", "b": "12345678901234567890.123456789012345678901", "c": "1E400"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": 2}', '{ "b":2,"a":1 }', True),
        ('{"a": 1}', '{"a": 1.0}', False),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": 1.10}', '{"a": 1.1}', True),
        ('{"a": 0.1}', '{"a": 0.10000000000000000001}', False),
        ('{"a": null}', "{}", False),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": "\\u00fc"}', '{"a": "ü"}', True),
    ],
)
def test_a_row_is_changed_by_its_values_and_not_by_its_looks(one: str, other: str, *, same: bool) -> None:
    assert is_same_row(one, other) is same


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "is no JSON object"),
        ("{'a': 1}", "is no JSON: Expecting property name enclosed in double quotes at character 2"),
        ('{"a": 1', "is no JSON"),
        ('{"a": NaN}', "holds NaN, which JSON does not know"),
        ('{"a": 1, "a": 2}', "has 'a' twice"),
        ('{"a": {"b": 1, "b": 1}}', "has 'b' twice"),
        ('{"a": "\\ud800"}', "holds half of a surrogate pair"),
        ("[" * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_no_row_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        json_members(text)


def test_sensitive_columns_are_found_in_rows_by_the_names_that_the_source_has() -> None:
    class Exchanged(BaseModel):
        public: str = Field(alias="a")
        secret: str = Field(alias="public")
        other: str = Field(validation_alias=AliasChoices("b", "c"))

    spec = TableSpec(name="people", row=Exchanged, source=PEOPLE.source, sensitive=("secret",))

    assert hidden_columns(spec, ["a", "public", "b", "c", "secret"], PayloadOf.SOURCE) == ["public", "secret"]


def test_sensitive_columns_are_hidden_and_so_is_what_a_transform_may_make_one_of() -> None:
    names = ["name", "social security", "SSN"]
    assert hidden_columns(PEOPLE, names, PayloadOf.SOURCE) == ["social security", "SSN"]
    assert hidden_columns(PEOPLE, ["line"], PayloadOf.LINE) == ["line"]
    assert hidden_columns(OPEN_PEOPLE, names, PayloadOf.SOURCE) == []
    assert redact_row({"name": '"x"', "SSN": "1"}, ["SSN"]) == f'{{"name": "x", "SSN": {REDACTED}}}'
