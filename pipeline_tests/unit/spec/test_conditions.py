"""What a partition asks of a column: a window of time or one value, each in the column's own type."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from rowledger.errors import SpecError
from rowledger.spec.column import TypeName
from rowledger.spec.condition import Equals, Window


def test_bounds_come_in_the_columns_own_type() -> None:
    lower, upper = datetime(2013, 1, 1, 5, tzinfo=UTC), datetime(2013, 1, 2, 5, tzinfo=UTC)
    window = Window("at", lower, upper, "America/New_York")

    assert window.bounds(TypeName.TIMESTAMPTZ) == (lower, upper)
    assert window.bounds(TypeName.TIMESTAMP) == (datetime(2013, 1, 1), datetime(2013, 1, 2))  # noqa: DTZ001, local time
    assert window.bounds(TypeName.DATE) == (date(2013, 1, 1), date(2013, 1, 2))
    with pytest.raises(SpecError, match="'at' is integer"):
        window.bounds(TypeName.INTEGER)


@pytest.mark.parametrize(
    ("text", "type_name", "value"),
    [
        ("EWR", TypeName.TEXT, "EWR"),
        ("EWR", TypeName.VARCHAR, "EWR"),
        ("-7", TypeName.SMALLINT, -7),
        ("9223372036854775807", TypeName.BIGINT, 2**63 - 1),
        ("true", TypeName.BOOLEAN, True),
        ("2024-03-01", TypeName.DATE, date(2024, 3, 1)),
        ("6f1c0f5e-0000-0000-0000-000000000001", TypeName.UUID, UUID("6f1c0f5e-0000-0000-0000-000000000001")),
    ],
)
def test_a_key_is_read_as_its_columns_type(text: str, type_name: TypeName, value: object) -> None:
    assert Equals("c", text).value(type_name) == value


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("07", TypeName.INTEGER),
        ("+7", TypeName.INTEGER),
        ("1_0", TypeName.INTEGER),
        ("40000", TypeName.SMALLINT),
        ("x", TypeName.BIGINT),
        ("True", TypeName.BOOLEAN),
        ("20240301", TypeName.DATE),
        ("6F1C0F5E-0000-0000-0000-000000000001", TypeName.UUID),
        ("1.5", TypeName.DOUBLE),
    ],
)
def test_a_key_with_two_spellings_or_none_in_its_columns_type_is_refused(text: str, type_name: TypeName) -> None:
    with pytest.raises(SpecError, match="'c'"):
        Equals("c", text).value(type_name)
