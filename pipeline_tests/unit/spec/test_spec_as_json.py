"""A table spec as JSON: all of it comes back, and what cannot come back is refused in one sentence."""

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, Field, SecretStr

from pipeline_tests.support import tables, tables_of_odd_shapes, tables_of_other_sources, tables_of_write_modes
from rowledger import (
    ArrowFiles,
    CsvFiles,
    DeadLetterBudget,
    Drift,
    FrameTransform,
    GivenRows,
    JsonFiles,
    NdjsonFiles,
    ParquetFiles,
    PythonRows,
    QualifiedName,
    RowTransform,
    Source,
    SqlQuery,
    TableSpec,
    WriteMode,
)
from rowledger.errors import SpecError
from rowledger.spec.by_class import ByClass
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.partition import Partition
from rowledger.spec.reference import ByReference
from rowledger.spec.source import SourceContext
from rowledger.spec.table import _SOURCES, _TRANSFORMS


class Row(BaseModel):
    sensor: int
    day: date
    note: str | None


def rows(partition: Partition) -> Iterator[dict[str, object]]:
    yield {"sensor": len(partition.key)}


def frames(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def one_row(row: Row) -> Row | None:
    return row


class Colour(Enum):
    RED = "r"


class OwnSource(Source):
    """A user's own, with a field of most kinds, and with one that is named as the library's are."""

    kind: str = "mine"
    folder: Path = Path("/data")
    every: timedelta = timedelta(minutes=5)
    factor: Decimal = Decimal("1.50")
    colours: tuple[Colour, ...] = (Colour.RED,)
    by_number: dict[int, float] = Field(default={1: 0.1}, alias="byNumber")
    names: frozenset[str] = frozenset({"a", "b"})
    fetch: Annotated[Callable[[Partition], Any], ByReference("source.fetch")] = rows

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        raise NotImplementedError

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        raise NotImplementedError

    def frame_schema(self, descriptor: ChunkDescriptor) -> pl.Schema:
        raise NotImplementedError


class OwnCsv(CsvFiles):
    sheet: int = 1


class SecretSource(OwnSource):
    password: SecretStr = SecretStr("hush")


class CallingSource(OwnSource):
    call: Callable[..., Any] = print


SOURCES = [
    ParquetFiles(path="{landing}/*.parquet", hive=("year",), columns_max=7),
    CsvFiles(
        path="x.csv", delimiter=";", quote=None, escape="\\", nulls=("\\N", "\0", "ü"), columns=("a", "b"), skip_lines=2
    ),
    NdjsonFiles(path="s3://bucket/x.ndjson.gz", compression="gzip"),
    JsonFiles(path="x.json", rows_at=("a", "ü")),
    ArrowFiles(path="https://data.example/{partition_key}.arrow"),
    PythonRows(function=rows),
    GivenRows(origin="the asset t"),
    SqlQuery(url_variable="SHOP_URL", query="select '{}' -- \n", fetch_timeout_s=0.1),
    OwnSource(byNumber={2: 1e-7, 3: 1e300}),
    OwnCsv(path="x.csv", sheet=3),
]


def _comes_back(spec: TableSpec) -> None:
    text = spec.as_json()
    assert TableSpec.from_json(text) == spec
    assert TableSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert TableSpec.from_json(TableSpec.from_json(text).as_json()) == spec


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_a_source_comes_back(source: Source) -> None:
    spec = TableSpec(name="t", row=Row, source=source)

    _comes_back(spec)
    assert type(TableSpec.from_json(spec.as_json()).source) is type(source)


def test_every_class_of_the_library_has_a_short_name_that_leads_to_it() -> None:
    found = {json.loads(TableSpec(name="t", row=Row, source=s).as_json())["source"]["class"] for s in SOURCES}

    assert found == {*dict(_SOURCES), f"{__name__}:OwnSource", f"{__name__}:OwnCsv"}
    assert {type(source) for source in SOURCES[:8]} == _concrete(Source)
    assert len(_TRANSFORMS) == len({FrameTransform, RowTransform})


def _concrete(cls: type) -> set[type]:
    below = {deeper for sub in cls.__subclasses__() for deeper in _concrete(sub)}
    is_concrete = cls.__module__.startswith("rowledger.") and not getattr(cls, "__abstractmethods__", None)
    return below | ({cls} if is_concrete else set())


SPECS = [
    pytest.param(value, id=f"{module.__name__.rpartition('.')[2]}.{name}")
    for module in (tables, tables_of_odd_shapes, tables_of_other_sources, tables_of_write_modes)
    for name, value in vars(module).items()
    if isinstance(value, TableSpec)
]


@pytest.mark.parametrize("spec", SPECS)
def test_the_specs_of_the_tests_come_back(spec: TableSpec) -> None:
    _comes_back(spec)


@given(
    target=st.tuples(st.text(min_size=1, max_size=63), st.text(min_size=1, max_size=63)).filter(
        lambda parts: not any(0xD800 <= ord(c) < 0xE000 for part in parts for c in part)
    ),
    key=st.sampled_from([("sensor",), ("day", "sensor")]),
    write_mode=st.sampled_from(WriteMode),
    rows_max=st.integers(0, 2**62),
    share_max=st.floats(0, 1),
    transform=st.sampled_from([None, FrameTransform(function=frames), RowTransform(function=one_row, adds_rows=True)]),
    drift=st.sampled_from([drift for drift in Drift if drift is not Drift.EVOLVE]),
    sensitive=st.sampled_from([(), ("note",)]),
    description=st.text(st.characters(exclude_categories=["Cs"])),
    upstream=st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple),
    source=st.sampled_from(SOURCES[:3]),
)
def test_every_option_comes_back(target: tuple[str, str], rows_max: int, share_max: float, **options: Any) -> None:
    schema_name, table = target
    _comes_back(
        TableSpec(
            name="t",
            row=Row,
            target=QualifiedName(schema_name=schema_name, table=table),
            dead_letters=DeadLetterBudget(rows_max=rows_max, share_max=share_max),
            **options,
        )
    )


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_spec_that_a_function_makes_comes_back(name: str) -> None:
    _comes_back(TableSpec(name=name, row=Row, source=ParquetFiles(path=f"{name}.parquet")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transform": FrameTransform(function=lambda frame: frame)}, "table t: transform.function is a lambda of"),
        ({"source": PythonRows(function=lambda _: [])}, "table t: source.function is a lambda of"),
        ({"source": SecretSource()}, "table t: source comes back from JSON, .* name secrets by their environment"),
        ({"source": CallingSource()}, "table t: no JSON can be made of it: .*annotate a field"),
        ({"description": "\ud800"}, "table t: "),
        ({"key": ["sensor"]}, "table t: key comes back from JSON, as worker processes get it, with another value"),
    ],
)
def test_what_would_not_come_back_is_refused(changes: dict[str, object], said: str) -> None:
    spec = TableSpec(name="t", row=Row, source=SOURCES[0]).model_copy(update=changes)

    with pytest.raises(SpecError, match=said) as refused:
        spec.as_json()

    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_imported_any_more_is_told_with_its_field() -> None:
    text = TableSpec(name="t", row=Row, source=SOURCES[-1]).as_json()

    with pytest.raises(SpecError, match=f"^row {__name__}:Gone cannot be imported: {__name__} has no Gone$"):
        TableSpec.from_json(text.replace(":Row", ":Gone"))
    with pytest.raises(SpecError, match=r"^source nowhere:OwnCsv cannot be imported: there is no module 'nowhere'"):
        TableSpec.from_json(text.replace(f"{__name__}:OwnCsv", "nowhere:OwnCsv"))
    with pytest.raises(SpecError, match=r"^source\.sensor: "):
        TableSpec.from_json(text.replace(f"{__name__}:OwnCsv", f"{__name__}:Row"))


def test_a_source_keeps_no_secret_of_its_address() -> None:
    token = ParquetFiles(path="https://data.example/{partition_key}.parquet?sig=hush")
    passwords = [
        ParquetFiles(path=f"abfs://me:{password}@account/x.parquet") for password in ("hush", "hu@sh", "hu:sh")
    ]

    assert token.without_secrets() == ParquetFiles(path="https://data.example/{partition_key}.parquet")
    assert {source.without_secrets() for source in passwords} == {ParquetFiles(path="abfs://me@account/x.parquet")}
    assert SOURCES[0].without_secrets() == SOURCES[0]


def test_a_class_is_named_only_where_a_field_asks_for_it() -> None:
    class Holder(BaseModel):
        source: Annotated[Source, ByClass("source", ())]

    assert Holder.model_validate(Holder(source=SOURCES[0]).model_dump(mode="json")).source == SOURCES[0]
