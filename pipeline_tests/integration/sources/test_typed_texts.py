"""A chunk whose columns got types before the contract saw them leaves the same rows and dead letters as one without."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import BaseModel, Field

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import assert_verified
from rowledger.contract.sql_types import Integer
from rowledger.sources.csv import CsvFiles
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec.table import DeadLetterBudget, TableSpec


class TypedCsv(CsvFiles):
    """CSV files whose columns get types in every chunk, however small."""

    typed_rows_min: ClassVar[int] = 0


class TypedNdjson(NdjsonFiles):
    """The same for lines of JSON."""

    typed_rows_min: ClassVar[int] = 0


class Payment(BaseModel):
    """A row with a column of each type that texts may get."""

    number: Annotated[Integer, Field(ge=1)]
    amount: Annotated[Decimal, Field(max_digits=9, decimal_places=2)]
    rate: float | None
    paid: bool
    day: date
    at: datetime
    note: str


PAYMENTS = TableSpec(
    name="payments",
    row=Payment,
    key=("number",),
    source=TypedCsv(path="{landing}/payments.csv"),
    dead_letters=DeadLetterBudget(share_max=1),
)
AS_TEXTS = PAYMENTS.model_copy(update={"source": CsvFiles(path="{landing}/payments.csv")})
JSON_PAYMENTS = PAYMENTS.model_copy(update={"source": TypedNdjson(path="{landing}/payments.ndjson")})
JSON_AS_READ = PAYMENTS.model_copy(update={"source": NdjsonFiles(path="{landing}/payments.ndjson")})
HEADER = "number,amount,rate,paid,day,at,note\n"
GOOD = "".join(
    f"{n},{n}.50,{n / 8 if n % 3 else ''},{'true' if n % 2 else '0'},2024-01-{n:02},2024-01-{n:02} 10:00:{n:02},n{n}\n"
    for n in range(1, 20)
)
GOOD_JSON = "".join(
    f'{{"number":{n},"amount":{n}.50,"rate":{n / 8 if n % 3 else "null"},"paid":true,"day":"2024-01-{n:02}",'
    f'"at":"2024-01-{n:02} 10:00:{n:02}","note":"n{n}"}}\n'
    for n in range(1, 20)
)
_LETTERS = """select row_no, stage, reason, payload::text, payload_of, column_name, sqlstate, constraint_name
from rowledger.dead_letter order by row_no"""


_ROW_TYPES = "select row_types from rowledger.chunk order by load_id desc limit 1"


def _loaded(database: str, landing: Path, spec: TableSpec) -> tuple[list[Any], list[Any], list[Any]]:
    """The table, the dead letters and the types that these have after a load; table and letters are emptied then."""
    report = load_one(database, spec, landing, "all")
    assert report.error is None, report.error
    assert_verified(database, spec)
    table = [tuple(row) for row in fetch(database, "select * from payments order by number")]
    letters = [tuple(row) for row in fetch(database, _LETTERS)]
    fetch(database, "delete from payments")
    fetch(database, "delete from rowledger.dead_letter")
    return table, letters, fetch(database, _ROW_TYPES)


@pytest.mark.parametrize(
    ("rows", "stages"),
    [
        ("", []),
        ("20,1e3, 5 ,yes,2024-02-01,2024-02-01,more forms\n", []),
        ("abc,1,,true,2024-01-31,2024-01-31 10:00:00,no number\n", ["contract"]),
        ("0,1,,true,2024-01-31,2024-01-31 10:00:00,below the bound\n", ["contract"]),
        ("21,1.005,,true,2024-01-31,2024-01-31 10:00:00,decimals\n", ["contract"]),
        ("22,12345678,,true,2024-01-31,2024-01-31 10:00:00,digits\n", ["contract"]),
        ("23,1,,true,2024-01-31\n", ["source"]),
        ("24,13.13,,true,2024-01-31,2024-01-31 10:00:00,the server's\n", ["copy"]),
        ("25,13.13,,true,2024-01-31,2024-01-31 10:00:00,the server's\n26,1\n", ["copy", "source"]),
        ("7,1,,true,2024-01-31,2024-01-31 10:00:00,the key again\n", ["key"]),
    ],
    ids=[
        "good", "more forms", "no number", "below the bound", "decimals", "digits", "ragged", "refused by the server",
        "refused by the server and ragged", "key again",
    ],
)  # fmt: skip
def test_rows_and_dead_letters_are_those_of_a_chunk_of_texts(
    database: str, tmp_path: Path, rows: str, stages: list[str]
) -> None:
    (tmp_path / "payments.csv").write_text(HEADER + GOOD, encoding="utf-8")
    assert load_one(database, PAYMENTS, tmp_path, "all").error is None
    fetch(database, "alter table payments add constraint unlucky check (amount <> 13.13)")
    (tmp_path / "payments.csv").write_text(HEADER + GOOD + rows, encoding="utf-8")

    table, letters, types = _loaded(database, tmp_path, PAYMENTS)

    assert (table, letters, types) == _loaded(database, tmp_path, AS_TEXTS)
    assert [letter[1] for letter in letters] == stages
    assert len(table) == 19 + rows.count("\n") - len(stages)


@pytest.mark.parametrize(
    ("row", "stages"),
    [
        (
            '"number":20,"amount":2e1,"rate":-0.0,"paid":true,"day":"2024-02-01","at":"2024-02-01","note":"more forms"}',
            [],
        ),
        (
            '"number":0,"amount":1,"rate":1.5,"paid":true,"day":"2024-01-31","at":"2024-01-31","note":"low"}',
            ["contract"],
        ),
        (
            '"number":21,"amount":1.005,"rate":1.5,"paid":true,"day":"2024-01-31","at":"2024-01-31","note":"x"}',
            ["contract"],
        ),
        (
            '"number":22,"amount":1.5,"rate":1.5,"paid":true,"day":"2024-02-30","at":"2024-01-31","note":"x"}',
            ["contract"],
        ),
        ('"number":23,"amount":01.5}', ["source"]),
        (
            '"number":24,"amount":13.13,"rate":1.5,"paid":true,"day":"2024-01-31","at":"2024-01-31","note":"x"}',
            ["copy"],
        ),
        (
            '"number":7,"amount":1.5,"rate":1.5,"paid":true,"day":"2024-01-31","at":"2024-01-31","note":"again"}',
            ["key"],
        ),
    ],
)
def test_rows_and_dead_letters_of_json_are_those_of_a_chunk_without_types(
    database: str, tmp_path: Path, row: str, stages: list[str]
) -> None:
    (tmp_path / "payments.ndjson").write_text(GOOD_JSON, encoding="utf-8")
    assert load_one(database, JSON_PAYMENTS, tmp_path, "all").error is None
    fetch(database, "alter table payments add constraint unlucky check (amount <> 13.13)")
    (tmp_path / "payments.ndjson").write_text(GOOD_JSON + "{" + row + "\n", encoding="utf-8")

    table, letters, types = _loaded(database, tmp_path, JSON_PAYMENTS)

    assert (table, letters, types) == _loaded(database, tmp_path, JSON_AS_READ)
    assert [letter[1] for letter in letters] == stages
    assert len(table) == 20 - len(stages)
