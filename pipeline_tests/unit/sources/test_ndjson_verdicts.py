"""What becomes of a row of JSON depends on its values and their fields alone, wherever the file is cut into chunks."""

import json
import tempfile
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from pydantic import BaseModel, Field, create_model

from rowledger import Partition, TableSpec
from rowledger.chunk.preparation import prepare_rows
from rowledger.contract import Contract
from rowledger.sources.ndjson import NdjsonFiles
from rowledger.spec import SourceContext, TypeName

PARTITION = Partition(key="all", conditions=())
FIELDS: tuple[Any, ...] = (
    str, int, float, Decimal, bool, bytes, date, datetime, time, timedelta, UUID, IPv4Address, str | None, int | float,
    list[int], list[float], list[str], dict[str, int], Any, Literal[1, "x"], Literal[1, 2],
    Annotated[int, Field(strict=True)], Annotated[float, Field(strict=True)], Annotated[Decimal, Field(strict=True)],
    Annotated[str, Field(coerce_numbers_to_str=True)], Annotated[Decimal, Field(max_digits=10, decimal_places=2)],
)  # fmt: skip
VALUES = (
    "0", "1", "-0", "7", "1.0", "1.5", "1.50", "0.1", "1e3", "1e17", "100000000000000000", "100000000000000000.0",
    "9007199254740993", "12345678901234567890", "0.12345678901234567890123", "1e400", "1e-400", "true", "false", "null",
    '"1"', '"1.5"', '"x"', '""', '"2024-01-01"', '"2024-01-01T00:00:00"', "[]", "[1]", "[1.5]", '["a"]', "{}", '{"a":1}',
    '{"a":1.50}',
)  # fmt: skip


def verdicts(model: type[BaseModel], values: list[str], *, chunk_rows: int) -> list[tuple[Any, list[str]]]:
    """For each value the good one that the row has in the table, and the reasons for which the row was refused."""
    found: list[tuple[Any, list[str]]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.ndjson"
        file.write_text("".join(f'{{"v":{value}}}\n' for value in values))
        spec = TableSpec(name="t", row=model, source=NdjsonFiles(path=str(file)))
        contract = Contract.of(model)
        scope = SourceContext(
            Path(folder),
            Path(folder),
            chunk_rows,
            columns=("v",),
            exact_numbers=any(column.type.name is TypeName.NUMERIC for column in contract.columns),
            documents=contract.documents,
            numbers_apart=contract.numbers_apart,
        )
        for chunk in spec.source.chunks(PARTITION, scope):
            frame = spec.source.read(chunk)
            rows = prepare_rows(
                spec, contract.columns, frame, range(chunk.rows), PARTITION, dead_letters_max=len(values)
            )
            good = dict(zip(rows.row_nos.tolist(), rows.good["v"].to_list(), strict=True))
            reasons: dict[int, list[str]] = {}
            for letter in rows.rejected:
                reasons.setdefault(letter.row_no, []).append(letter.reason)
            found += [(comparable(model, good.get(row)), reasons.get(row, [])) for row in range(chunk.rows)]
    return found


def comparable(model: type[BaseModel], value: Any) -> Any:
    """The value; of a document what it means, since the server stores it as jsonb."""
    is_document = Contract.of(model).columns[0].type.name is TypeName.JSONB
    return json.loads(value, parse_float=Decimal) if is_document and value is not None else value


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FIELDS), st.lists(st.sampled_from(VALUES), min_size=2, max_size=5), st.integers(1, 4))
@example(str, ["1.5", '"x"'], 1)
@example(bytes, ["1", "2.5"], 1)
@example(IPv4Address, ["1e3", "1"], 1)
@example(float, ["100000000000000000", "1.5"], 1)
@example(float, ["1e-400", "true"], 1)
@example(Annotated[int, Field(strict=True)], ["1", "1.5"], 1)
@example(Annotated[str, Field(coerce_numbers_to_str=True)], ["1.50", "true"], 1)
def test_the_verdict_on_a_row_is_the_same_wherever_chunks_are_cut(
    field: Any, values: list[str], chunk_rows: int
) -> None:
    model = create_model("Row", v=(field, ...))

    assert verdicts(model, values, chunk_rows=chunk_rows) == verdicts(model, values, chunk_rows=len(values))


@pytest.mark.parametrize("neighbours", [[], ['"x"'], ["1"], ["2.50"], ["true", "[]"]])
def test_a_number_with_a_fraction_is_never_taken_for_a_text(neighbours: list[str]) -> None:
    model = create_model("Row", v=(str, ...))

    value, reasons = verdicts(model, ["1.5", *neighbours], chunk_rows=10)[0]

    assert value is None
    assert reasons == ["v: Input should be a valid string [string_type]"]
