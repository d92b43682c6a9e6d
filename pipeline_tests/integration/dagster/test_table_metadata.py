"""What Dagster shows of a table: its columns and their rules, its source, its code, and where its columns come from."""

from pathlib import Path
from typing import Annotated, Literal

import dagster as dg
import pytest
from pydantic import BaseModel, Field

from rowledger import CsvFiles, SqlQuery, TableSpec
from rowledger.contract import SmallInt, varchar
from rowledger.dagster import RowledgerDatabase, build_table_defs
from rowledger.settings import settings

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]


class Reading(BaseModel):
    """A reading of a station.

    Twice a day.
    """

    station: Annotated[str, varchar(20)] = Field(pattern="^[A-Z]+$", description="The station's code.")
    number: SmallInt = Field(gt=0, validation_alias="No.", description="Of the reading.")
    level: float | None = Field(default=None, ge=-5, lt=100, allow_inf_nan=False)
    kind: Literal["first", "second"] = "first"
    tags: list[Annotated[str, Field(max_length=5)]] = Field(default=[], max_length=3)


READINGS = TableSpec(
    name="readings", row=Reading, source=CsvFiles(path="{landing}/readings.csv"), key=("station", "number")
)


def shown(spec: TableSpec, **options: object) -> dg.AssetSpec:
    (asset,) = build_table_defs(spec, **options).assets or ()  # type: ignore[arg-type]
    assert isinstance(asset, dg.AssetsDefinition)
    (found,) = asset.specs
    return found


def test_columns_have_their_descriptions_and_rules() -> None:
    schema = shown(READINGS).metadata["dagster/column_schema"]

    told = {column.name: (column.description, column.constraints) for column in schema.columns}
    assert told == {
        "station": (
            "The station's code.",
            dg.TableColumnConstraints(nullable=False, other=["length ≤ 20", "matches ^[A-Z]+$"]),
        ),
        "number": ("Of the reading.", dg.TableColumnConstraints(nullable=False, other=["> 0"])),
        "level": (None, dg.TableColumnConstraints(nullable=True, other=["≥ -5", "< 100"])),
        "kind": (None, dg.TableColumnConstraints(nullable=False, other=["one of first, second"])),
        "tags": (None, dg.TableColumnConstraints(nullable=False, other=["length ≤ 3", "each element length ≤ 5"])),
    }
    assert schema.constraints.other == ["primary key (station, number)"]


def test_a_key_of_one_column_makes_it_unique() -> None:
    schema = shown(READINGS.model_copy(update={"key": ("number",)})).metadata["dagster/column_schema"]

    assert {column.name: column.constraints.unique for column in schema.columns if column.constraints.unique} == {
        "number": True
    }
    assert schema.constraints.other == []


def test_the_description_is_the_model_s_docstring_without_its_indentation() -> None:
    assert shown(READINGS).description == "A reading of a station.\n\nTwice a day."


@pytest.mark.parametrize(
    ("database", "name"),
    [
        (RowledgerDatabase(host="db", user="u", password="secret", database="lake"), "lake.public.readings"),
        (RowledgerDatabase(url="postgresql://u:secret@db:5432/lake%20one"), "lake one.public.readings"),
        (RowledgerDatabase(url=dg.EnvVar("NO_SUCH_URL")), "public.readings"),
        (RowledgerDatabase(url=dg.EnvVar("LAKE_URL")), "pond.public.readings"),
        (RowledgerDatabase(host="db"), "public.readings"),
        ("of the project", "public.readings"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_table_s_name_has_its_database_where_that_is_known(
    database: RowledgerDatabase | str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKE_URL", "postgresql://u:secret@db/pond")
    metadata = shown(READINGS, database=database).metadata

    assert metadata["dagster/table_name"] == name
    assert metadata["dagster/storage_kind"] == "postgres"
    assert "secret" not in str(metadata)


def test_the_default_database_is_named_as_the_environment_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", "postgresql://u:secret@db/lake")
    settings.cache_clear()

    assert shown(READINGS).metadata["dagster/table_name"] == "lake.public.readings"


def test_the_source_is_told_without_an_address() -> None:
    query = SqlQuery(url_variable="OTHER_URL", query="select 'secret'")
    of_files, of_query = shown(READINGS).metadata, shown(READINGS.model_copy(update={"source": query})).metadata

    assert (of_files["source_format"], of_files["source_path"]) == ("csv", "{landing}/readings.csv")
    assert of_query["source_format"] == "sql"
    assert "source_path" not in of_query
    assert "secret" not in str(of_query)

    signed = CsvFiles(path="https://files.example/readings.csv?sv=2024&sig=secret")
    metadata = shown(READINGS.model_copy(update={"source": signed})).metadata
    assert "files.example" in metadata["source_path"]
    assert "secret" not in str(metadata)


def test_the_code_of_the_row_model_is_referred_to() -> None:
    (reference,) = shown(READINGS).metadata["dagster/code_references"].code_references

    assert Path(reference.file_path) == Path(__file__)
    assert "class Reading" in Path(__file__).read_text().splitlines()[reference.line_number - 1]


def _upstream(name: str, *columns: str) -> dg.AssetSpec:
    schema = dg.TableSchema([dg.TableColumn(column) for column in columns])
    return dg.AssetSpec(name, metadata={"dagster/column_schema": schema} if columns else {})


def test_columns_come_from_the_only_upstream_asset_that_has_them_under_the_source_s_name() -> None:
    deps = [_upstream("raw", "station", "No.", "kind"), _upstream("levels", "level", "kind")]
    lineage = shown(READINGS, deps=deps).metadata["dagster/column_lineage"].deps_by_column

    assert {
        name: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps] for name, deps in lineage.items()
    } == {
        "station": [("raw", "station")],
        "number": [("raw", "No.")],
        "level": [("levels", "level")],
    }


def test_lineage_is_not_guessed_where_an_upstream_asset_says_nothing_of_its_columns() -> None:
    deps = [_upstream("raw", "station"), _upstream("unknown")]

    assert "dagster/column_lineage" not in shown(READINGS, deps=deps).metadata
