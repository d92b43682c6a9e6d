"""What a table's asset can be given, and how several tables live together in one project."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import FAST
from pipeline_tests.support.tables_of_any_partitions import ROWS, sampled
from rowledger.dagster import GuardedWriter, RowledgerDatabase, RowledgerTranslator, build_table_defs
from rowledger.dagster.translator import RowledgerTranslatorData
from rowledger.dagster.verification import VERIFY_CHECK
from rowledger.errors import DatabaseUnavailable, SpecError
from rowledger.ledger import CheckName
from rowledger.publish import run_forget
from rowledger.spec import QualifiedName
from rowledger.spec.table import TableSpec, WriteMode

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]

DAYS = dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-04-01")
PLACES = dg.StaticPartitionsDefinition(["north", "south"])


def whole(name: str = "samples") -> TableSpec:
    return sampled(name, None, WriteMode.APPEND)


def asset_of(defs: dg.Definitions) -> dg.AssetSpec:
    (asset,) = defs.resolve_all_asset_specs()
    return asset


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield instance


def test_an_asset_can_be_given_what_any_asset_can_be_given() -> None:
    mapping = dg.TimeWindowPartitionMapping(start_offset=-1)
    condition = dg.AutomationCondition.eager()
    retries, backfills = dg.RetryPolicy(max_retries=2), dg.BackfillPolicy.multi_run(3)
    defs = build_table_defs(
        sampled("samples", "at"),
        partitions_def=DAYS,
        key=["lake", "samples"],
        key_prefix="eu",
        group_name="lake",
        owners=["team:water"],
        tags={"tier": "gold"},
        kinds={"csv"},
        deps=[dg.AssetDep("readings", partition_mapping=mapping), "stations"],
        code_version="7",
        description="Samples of water.",
        metadata={"source": "the lake"},
        automation_condition=condition,
        pool="target_db",
        retry_policy=retries,
        backfill_policy=backfills,
        op_tags={"size": "large"},
    )
    loaded = defs.resolve_assets_def(dg.AssetKey(["eu", "lake", "samples"]))
    asset = loaded.get_asset_spec(dg.AssetKey(["eu", "lake", "samples"]))

    assert (asset.group_name, asset.owners, asset.code_version) == ("lake", ["team:water"], "7")
    assert (asset.description, asset.automation_condition) == ("Samples of water.", condition)
    assert asset.kinds == {"postgres", "csv"}
    assert asset.tags["tier"] == "gold"
    assert asset.metadata["source"] == "the lake"
    assert asset.metadata["dagster/table_name"] == "public.samples"
    assert {dep.asset_key.to_user_string(): dep.partition_mapping for dep in asset.deps} == {
        "readings": mapping,
        "stations": None,
    }
    assert loaded.op.name == "eu__lake__samples"
    assert (loaded.op.pool, loaded.op.retry_policy, loaded.backfill_policy) == ("target_db", retries, backfills)
    assert loaded.op.tags["size"] == "large"
    assert {check.asset_key for check in loaded.check_specs} == {asset.key}


def test_an_unknown_option_is_refused_by_its_name() -> None:
    with pytest.raises(TypeError, match=r"unknown options group; an asset and its step can be given .*group_name"):
        build_table_defs(whole(), group="lake")  # type: ignore[call-arg]


class Lake(RowledgerTranslator):
    def get_asset_spec(self, data: RowledgerTranslatorData) -> dg.AssetSpec:
        spec = super().get_asset_spec(data)
        return spec.replace_attributes(
            key=spec.key.with_prefix("lake"), owners=["team:water"], group_name=data.spec.name
        )


def test_a_translator_names_a_whole_family_and_what_one_table_is_given_comes_on_top() -> None:
    family = [build_table_defs(whole(name), translator=Lake()) for name in ("rivers", "wells")]
    assert [asset_of(defs).key.path for defs in family] == [["lake", "rivers"], ["lake", "wells"]]
    assert [asset_of(defs).group_name for defs in family] == ["rivers", "wells"]

    other = asset_of(build_table_defs(whole(), translator=Lake(), group_name="other", key_prefix="eu"))
    assert (other.key.path, other.group_name, other.owners) == (["eu", "lake", "samples"], "other", ["team:water"])


def test_a_table_brings_an_asset_and_checks_and_the_rest_on_request() -> None:
    plain = build_table_defs(sampled("samples", "at"), partitions_def=DAYS)
    assert (list(plain.jobs or ()), list(plain.schedules or ()), list(plain.sensors or ())) == ([], [], [])
    assert plain.resolve_asset_graph().asset_check_keys

    scheduled = build_table_defs(sampled("samples", "at"), partitions_def=DAYS, schedule="30 2 * * *")
    (schedule,) = scheduled.schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert (schedule.name, schedule.cron_schedule) == ("samples_daily", "30 2 * * *")
    assert [job.name for job in scheduled.jobs or ()] == ["samples_load"]

    watched = build_table_defs(whole(), sensor=True, key=["lake", "samples"])
    assert [sensor.name for sensor in watched.sensors or ()] == ["lake__samples_corrected"]
    assert [job.name for job in watched.jobs or ()] == ["lake__samples_replay"]

    every = build_table_defs(sampled("samples", "at"), partitions_def=DAYS, jobs=True)
    assert {job.name for job in every.jobs or ()} == {"samples_load", "samples_verify", "samples_replay"}


def test_a_schedule_of_keys_that_no_clock_makes_is_refused() -> None:
    cities = dg.DynamicPartitionsDefinition(name="cities")
    with pytest.raises(SpecError, match="a schedule does not go with"):
        build_table_defs(sampled("samples", "place"), partitions_def=cities, schedule=True)


def test_freshness_on_request_asks_for_the_latest_window() -> None:
    defs = build_table_defs(sampled("samples", "at"), partitions_def=DAYS, freshness="0 9 * * *")
    names = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
    assert "freshness_check" in names
    with pytest.raises(SpecError, match="freshness needs windows of time"):
        build_table_defs(whole(), freshness="0 9 * * *")


def test_definitions_of_several_tables_merge_beside_resources_of_the_project() -> None:
    own = GuardedWriter(workers=2)
    defs = dg.Definitions.merge(
        build_table_defs(whole("one")),
        build_table_defs(whole("other")),
        build_table_defs(whole("third"), writer=GuardedWriter(workers=1), key_prefix="lake"),
        build_table_defs(whole("fourth"), writer=GuardedWriter(workers=3)),
        build_table_defs(whole("fifth"), writer="writer", database="warehouse"),
        dg.Definitions(resources={"writer": own, "warehouse": RowledgerDatabase(), "database": object()}),
    )
    dg.Definitions.validate_loadable(defs)
    assert set(defs.resources or ()) == {
        "rowledger_database",
        "rowledger_writer",
        "lake__third_writer",
        "fourth_writer",
        "writer",
        "warehouse",
        "database",
    }


def test_one_run_loads_tables_of_one_name_into_two_databases(
    database: str, other_database: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    defs = dg.Definitions.merge(
        build_table_defs(
            whole(), key_prefix="here", database=RowledgerDatabase(url=database), writer="fast", jobs=True, sensor=True
        ),
        build_table_defs(whole(), key_prefix="there", database="warehouse", writer="fast", jobs=True, sensor=True),
        dg.Definitions(
            resources={"fast": GuardedWriter(**FAST), "warehouse": RowledgerDatabase(url=dg.EnvVar("WAREHOUSE_URL"))}
        ),
    )
    monkeypatch.setenv("WAREHOUSE_URL", other_database)
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)

    assert result.success
    assert {evaluation.check_name for evaluation in result.get_asset_check_evaluations() if evaluation.passed} >= {
        "every_row_accounted_for",
        "published_rows_unchanged",
    }
    for url in (database, other_database):
        assert fetch(url, "select count(*) from samples")[0][0] == ROWS
        assert fetch(url, "select count(*) from rowledger.load where state = 'published'")[0][0] == 1

    sensor = defs.resolve_sensor_def("there__samples_corrected")
    with dg.build_sensor_context(
        instance=instance, resources={"warehouse": RowledgerDatabase(url=other_database)}
    ) as context:
        tick = sensor.evaluate_tick(context)
    assert tick.skip_message == "no dead letter of samples was marked as corrected"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"url": "postgresql://ada@db/lake"}, "postgresql://ada@db/lake"),
        (
            {"host": "db", "port": 5433, "user": "ada", "password": "p/w:1@", "database": "lake"},
            "postgresql://ada:p%2Fw%3A1%40@db:5433/lake",
        ),
        ({"host": "db", "sslmode": "verify-full"}, "postgresql://db?sslmode=verify-full"),
        ({"host": "::1", "port": 5433, "database": "a b"}, "postgresql://[::1]:5433/a%20b"),
        ({"host": "/var/run/postgresql", "port": 5433}, "postgresql://?host=%2Fvar%2Frun%2Fpostgresql&port=5433"),
    ],
)
def test_the_connection_is_given_as_a_url_or_by_its_parts(given: dict[str, object], url: str) -> None:
    assert RowledgerDatabase(**given).connection_url() == url


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "postgresql://db/lake", "host": "db"}, "has a url and also host; give the one or the other"),
        ({"url": ""}, "has an empty url"),
        ({"host": "", "database": "lake"}, "has an empty host"),
        ({"url": "mysql://ada:secret@db/lake"}, "starts with 'mysql'"),
        ({"url": "postgresql://ada:se/cret@db/lake"}, "has a port that is no number"),
    ],
)
def test_a_connection_that_names_no_server_is_refused_without_its_password(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(DatabaseUnavailable, match=message) as refused:
        RowledgerDatabase(**given).connection_url()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "named"), [({"uri": "postgresql://ada:secret@db"}, "uri"), ({"password": 5_318_008}, "password")]
)
def test_a_mistyped_connection_is_refused_by_its_field_without_its_value(given: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named) as refused:
        RowledgerDatabase(**given)
    assert not any(str(value) in str(refused.value) for value in given.values())


def test_a_part_of_a_password_is_not_taken_for_the_name_of_the_database() -> None:
    assert RowledgerDatabase(url="postgresql://ada:se/cret@db/lake").database_name() is None
    assert RowledgerDatabase(url="postgresql://ada:se%2Fcret@db/lake").database_name() == "lake"


def test_the_password_of_a_connection_is_not_in_its_repr() -> None:
    assert "secret" not in repr(RowledgerDatabase(user="ada", password="secret", url="postgresql://ada:secret@db"))


def test_a_resource_of_another_kind_fails_the_run_by_its_key(instance: dg.DagsterInstance) -> None:
    defs = dg.Definitions.merge(
        build_table_defs(whole(), database="warehouse"), dg.Definitions(resources={"warehouse": GuardedWriter()})
    )
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    (failure,) = {event.step_failure_data.error.message for event in result.get_step_failure_events()}
    assert "resource warehouse is of the class GuardedWriter; give a RowledgerDatabase under this key" in failure


def test_the_published_rows_are_read_again_with_the_asset_but_not_by_the_load_job() -> None:
    defs = build_table_defs(whole(), jobs=True)
    key = dg.AssetKey("samples")
    in_step = {dg.AssetCheckKey(key, name.value) for name in CheckName}

    def checks(job: str) -> set[dg.AssetCheckKey]:
        return set(defs.resolve_job_def(job).asset_layer.asset_graph.asset_check_keys)

    assert checks("samples_load") == in_step
    assert checks("samples_verify") == {dg.AssetCheckKey(key, VERIFY_CHECK)}
    assert checks("__ASSET_JOB") == {*in_step, dg.AssetCheckKey(key, VERIFY_CHECK)}


def test_the_replay_is_limited_by_the_pool_of_the_load() -> None:
    defs = build_table_defs(whole(), pool="target_db", jobs=True)

    assert {defs.resolve_job_def(f"samples_{job}").nodes[0].definition.pool for job in ("load", "replay")} == {
        "target_db"
    }


def test_two_tables_of_one_name_in_one_database_are_told_apart_before_a_row_is_loaded(
    database: str, instance: dg.DagsterInstance
) -> None:
    def load(spec: TableSpec, prefix: str) -> dg.ExecuteInProcessResult:
        defs = build_table_defs(
            spec, key_prefix=prefix, database=RowledgerDatabase(url=database), writer=GuardedWriter(**FAST)
        )
        job = defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=instance, raise_on_error=False)

    twin = whole().model_copy(update={"target": QualifiedName(schema_name="public", table="twin")})
    assert load(whole(), "here").success
    refused = load(twin, "there")
    assert load(whole(), "elsewhere").success  # the same table, whose asset has another key now

    [event] = [event for event in refused.all_events if event.is_step_failure]
    told = event.step_failure_data.user_failure_data.description or ""
    assert "under this name asset here/samples has loaded public.samples in this database" in told
    assert fetch(database, "select to_regclass('public.twin')")[0][0] is None
    run_forget(whole(), url=database)
    assert load(twin, "there").success
