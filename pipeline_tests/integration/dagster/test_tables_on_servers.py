"""A table on several servers in Dagster: loads, checks, replays, and rows that are read back."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.dagster_projects import new_project
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import FAST, load
from pipeline_tests.support.replaying import ACTOR
from pipeline_tests.support.tables_on_servers import EU, SALES, US, moved, sales, set_servers, write_sales
from rowledger.dagster import GuardedWriter, RowledgerDatabase, RowledgerIOManager, build_table_defs, rowledger_asset
from rowledger.dagster.verification import VERIFY_CHECK
from rowledger.dead_letters.changes import decide
from rowledger.errors import SpecError, UnknownPartition
from rowledger.ledger.dead_letter_outcomes import DeadLetterSelection
from rowledger.ledger.states import DeadLetterState
from rowledger.spec.servers import ServersByKey
from rowledger.spec.table import TableSpec

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `"),
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
    # Dagster itself uses it for nested resources.
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
]

REGIONS = dg.StaticPartitionsDefinition(["eu", "uk", "us"])
WRITER = GuardedWriter(**FAST)
RANGE = {"dagster/asset_partition_range_start": "eu", "dagster/asset_partition_range_end": "us"}


@pytest.fixture(autouse=True)
def _two_servers(monkeypatch: pytest.MonkeyPatch, database: str, empty_database: str) -> None:
    set_servers(monkeypatch, eu=database, us=empty_database)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """The folder of landed files in this test's ROWLEDGER_HOME."""
    return tmp_path / "home" / "landing"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


def _defs(spec: TableSpec = SALES) -> dg.Definitions:
    return build_table_defs(spec, partitions_def=REGIONS, writer=WRITER, jobs=True, sensor=True)


def _load(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    job = _defs().resolve_job_def("sales_load")
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def _materialized(instance: dg.DagsterInstance) -> dict[str, str]:
    """The server in the metadata of each partition that is materialized."""
    records = instance.fetch_materializations(dg.AssetKey("sales"), limit=100).records
    found = [record.asset_materialization for record in records]
    return {str(made.partition): str(made.metadata["server"].value) for made in found if made is not None}


def _told(database: str, variable: str) -> str:
    return f"{variable} ({database.rpartition('@')[2]})"


def test_a_run_over_a_range_loads_each_partition_into_its_server(
    instance: dg.DagsterInstance, landing: Path, database: str, empty_database: str
) -> None:
    rows = {key: write_sales(landing, key, sales(key, 30)) for key in ("eu", "uk", "us")}
    assert _load(instance, RANGE).success
    eu, us = _told(database, EU), _told(empty_database, US)
    assert _materialized(instance) == {"eu": eu, "uk": eu, "us": us}
    assert_accounted(database, SALES, rows["eu"] + rows["uk"])
    assert_accounted(empty_database, SALES, rows["us"])


def test_a_server_that_is_away_makes_the_run_red_and_its_partitions_alone(
    instance: dg.DagsterInstance,
    landing: Path,
    database: str,
    empty_database: str,
    unused_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = {key: write_sales(landing, key, sales(key, 30)) for key in ("eu", "uk", "us")}
    set_servers(monkeypatch, eu=database, us=f"postgresql://someone:hidden@127.0.0.1:{unused_port}/away")
    result = _load(instance, RANGE)
    assert not result.success
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    told = failure.user_failure_data.description
    assert told.startswith("sales: 1 of 3 partitions not published\nus: DatabaseUnavailable: server US_DATABASE_URL (")
    assert "hidden" not in told
    assert set(_materialized(instance)) == {"eu", "uk"}
    assert_accounted(database, SALES, rows["eu"] + rows["uk"])
    set_servers(monkeypatch, eu=database, us=empty_database)
    assert _load(instance, {"dagster/partition": "us"}).success
    assert set(_materialized(instance)) == {"eu", "uk", "us"}
    assert_accounted(empty_database, SALES, rows["us"])


@pytest.fixture
def loaded(landing: Path) -> None:
    for key in ("eu", "uk", "us"):
        write_sales(landing, key, [*sales(key, 20), {"region": key, "sale_id": -1, "item": "refund"}])
    assert all(report.published for report in load(None, SALES, landing, ["eu", "uk", "us"]))


def _verify(instance: dg.DagsterInstance, spec: TableSpec = SALES) -> dict[str | None, bool]:
    job = _defs(spec).resolve_job_def("sales_verify")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    found = {made.partition: made.passed for made in result.get_asset_check_evaluations()}
    assert result.success == all(found.values())
    return found


@pytest.mark.usefixtures("loaded")
def test_the_verify_job_reads_all_servers(
    instance: dg.DagsterInstance, empty_database: str, unused_port: int, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    assert _verify(instance) == {None: True, "eu": True, "uk": True, "us": True}
    fetch(empty_database, "update public.sales set item = 'another' where sale_id = 3")
    assert _verify(instance) == {None: False, "eu": True, "uk": True, "us": False}
    set_servers(monkeypatch, eu=database, us=f"postgresql://127.0.0.1:{unused_port}/away")
    assert _verify(instance) == {None: False, "eu": True, "uk": True}


@pytest.mark.usefixtures("loaded")
def test_a_partition_that_has_moved_fails_its_check_until_its_old_server_has_no_rows_of_it(
    instance: dg.DagsterInstance, landing: Path
) -> None:
    spec = moved(eu=EU, uk=US, us=US)
    assert load(None, spec, landing, ["uk"])[0].published
    assert _verify(instance, spec) == {None: False, "eu": True, "uk": False, "us": True}
    found = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("sales"), VERIFY_CHECK), limit=10
    )
    (made,) = [
        evaluation
        for record in found
        if record.evaluation is not None and (evaluation := record.evaluation).partition == "uk"
    ]
    assert "has rows of it, and the spec places it on US_DATABASE_URL" in made.description
    assert f"rowledger forget --table sales --server {EU} --partition uk" in made.description


@pytest.mark.usefixtures("loaded")
def test_the_sensor_starts_a_replay_on_each_server_that_has_corrected_rows(
    instance: dg.DagsterInstance, database: str, empty_database: str
) -> None:
    for url in (database, empty_database):
        decide(url, "sales", DeadLetterSelection(column="sale_id"), DeadLetterState.CORRECTED, ACTOR)
    sensor = _defs().get_repository_def().get_sensor_def("sales_corrected")
    resources = {"rowledger_database": RowledgerDatabase(), "sales_writer": WRITER}
    ticked = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, resources=resources))
    assert [
        request.run_key.startswith(f"sales_corrected_{name}_")
        for request, name in zip(ticked.run_requests or (), (EU, US), strict=True)
    ] == [True, True]
    job = _defs().resolve_job_def("sales_replay")
    for request, url in zip(ticked.run_requests or (), (database, empty_database), strict=True):
        before = fetch_value(url, "select count(*) from rowledger.letter_event")
        result = job.execute_in_process(instance=instance, run_config=request.run_config, raise_on_error=False)
        assert not result.success  # the row model has not changed, so the row is refused again
        assert fetch_value(url, "select count(*) from rowledger.letter_event") > before


@pytest.mark.usefixtures("loaded")
def test_a_replay_without_a_server_is_refused_where_it_could_mean_several(instance: dg.DagsterInstance) -> None:
    job = _defs().resolve_job_def("sales_replay")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert f"give as server one of {EU}, {US}, or partitions of one" in failure.user_failure_data.description


def test_definitions_name_the_servers_and_refuse_what_contradicts_them() -> None:
    (asset,) = _defs().resolve_all_asset_specs()
    assert (asset.metadata["servers"], asset.metadata["dagster/table_name"]) == (f"{EU}, {US}", "public.sales")
    with pytest.raises(SpecError, match="its spec says by servers where each partition is; leave database out"):
        build_table_defs(SALES, partitions_def=REGIONS, database=RowledgerDatabase(host="db"))
    with pytest.raises(UnknownPartition, match="servers names no variable for it"):
        build_table_defs(SALES, partitions_def=dg.StaticPartitionsDefinition(["eu", "mars"]))


def test_returned_rows_go_to_their_servers_and_are_read_back_from_all(
    instance: dg.DagsterInstance, database: str, empty_database: str
) -> None:
    rows = [row for key in ("eu", "us", "uk") for row in sales(key, 4)]
    seen: list[pl.DataFrame] = []
    single_run = dg.BackfillPolicy.single_run()

    @dg.asset(
        partitions_def=REGIONS,
        backfill_policy=single_run,
        metadata={
            "rowledger/row": "pipeline_tests.support.tables_on_servers:Sale",
            "rowledger/key": ["region", "sale_id"],
            "rowledger/partition_by": "region",
            "rowledger/servers": {"variables": {"eu": EU, "uk": EU, "us": US}},
        },
    )
    def managed() -> list[dict[str, object]]:
        return rows

    @dg.asset(partitions_def=REGIONS, backfill_policy=single_run, io_manager_key="plain")
    def reader(managed: pl.DataFrame) -> None:
        seen.append(managed)

    result = dg.materialize(
        [managed, reader],
        instance=instance,
        tags=RANGE,
        resources={"io_manager": RowledgerIOManager(writer=WRITER), "plain": dg.mem_io_manager},
    )
    assert result.success
    assert sorted(seen[0].to_dicts(), key=str) == sorted(rows, key=str)
    assert fetch_value(database, "select count(*) from public.managed") == 8
    assert fetch_value(empty_database, "select count(*) from public.managed") == 4


def test_a_function_that_returns_rows_has_servers(
    instance: dg.DagsterInstance, database: str, empty_database: str
) -> None:
    returned = rowledger_asset(
        row=SALES.row,
        key=("region", "sale_id"),
        name="returned",
        partitions_def=REGIONS,
        partition_by="region",
        servers=SALES.servers,
        writer=WRITER,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )(lambda: [row for key in ("eu", "us", "uk") for row in sales(key, 4)])
    assert dg.materialize([returned], instance=instance, tags=RANGE).success
    assert fetch_value(database, "select count(*) from public.returned") == 8
    assert fetch_value(empty_database, "select count(*) from public.returned") == 4


_YAML = """\
  columns: {{region: text, sale_id: integer}}
  key: [region, sale_id]
  source: {{type: csv, path: x.csv}}
  partition_by: region
  partitions: {{type: static, keys: [eu, us]}}
  servers:
    {servers}
"""


def test_servers_are_declared_in_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path, "shop_on_servers", monkeypatch)
    project.write("by_key/servers.py", f"def server_of(partition):\n    return {US!r}\n")
    project.table(_YAML.format(servers=f"{{type: key, variables: {{eu: {EU}, us: {US}}}}}"), folder="by_key")
    project.table(
        _YAML.format(servers=f"{{type: function, function: .servers.server_of, variables: [{EU}, {US}]}}"),
        folder="by_key_too",
    )
    project.write("by_key_too/servers.py", f"def server_of(partition):\n    return {US!r}\n")
    assets = {spec.key.to_user_string(): spec for spec in project.load().resolve_all_asset_specs()}
    assert {name: asset.metadata["servers"] for name, asset in assets.items()} == dict.fromkeys(
        ("by_key", "by_key_too"), f"{EU}, {US}"
    )


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        ("{type: table, variables: {eu: EU_DATABASE_URL}}", "type must be one of key, function"),
        ("{type: key, variables: {eu: 'postgresql://loader@db/shop', us: US}}", "and never the URL"),
        ("{type: key, variables: {eu: EU_DATABASE_URL}}", "servers names no variable for it"),
        ("{type: key, variables: {eu: EU, us: US}, dimension: shop}", "found by the dimension 'shop'"),
    ],
)
def test_a_mistake_in_yaml_is_told(
    servers: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    project = new_project(tmp_path, f"mistaken_servers_{abs(hash(request.node.name))}", monkeypatch)
    project.table(_YAML.format(servers=servers))
    with pytest.raises(Exception) as mistaken:  # noqa: PT011 - Dagster wraps it in classes of its own
        project.load().resolve_all_asset_specs()
    assert told in _texts(mistaken.value)


def _texts(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return "\n".join(texts)


def test_a_spec_with_another_servers_field_is_another_spec() -> None:
    assert SALES.servers == ServersByKey(variables={"eu": EU, "uk": EU, "us": US})
    assert moved(eu=US) != SALES
