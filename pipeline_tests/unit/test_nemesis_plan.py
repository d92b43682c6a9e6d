"""The nemesis's plans: the seed decides them whole, and all of them together leave no fault out."""

import pytest

from pipeline_tests.faults.nemesis.faults import HOST_WEIGHTS, LASTING_FAULTS, PROXY_FAULTS, RUN_HOST_WEIGHTS, Fault
from pipeline_tests.faults.nemesis.plan import TABLES, Manner, PartitionPlan, RoundPlan, Sign, plan_round
from pipeline_tests.faults.nemesis.process import Death, read_death
from pipeline_tests.faults.nemesis.sources import COLUMN_TYPES, SPECS, make_version
from pipeline_tests.support.loading import FAST
from rowledger.contract.check import Contract
from rowledger.failpoints import _parse
from rowledger.machine import Host
from rowledger.settings import WriterSettings

_PLANS = [plan_round(seed) for seed in range(400)]
_PLANS_ON_HOSTS = [plan_round(seed, hosts_max=4) for seed in range(400)]


def _strikes(plans: list[RoundPlan]) -> list[tuple[RoundPlan, object]]:
    return [(plan, strike) for plan in plans for phase in plan.phases for strike in phase.strikes]


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert [plan_round(seed) for seed in range(400)] == _PLANS
    assert len({plan.describe() for plan in _PLANS}) == len(_PLANS)


def test_every_fault_moment_and_table_comes_up() -> None:
    strikes = [strike for _, strike in _strikes(_PLANS)]
    assert {strike.fault for strike in strikes} == set(Fault) - set(HOST_WEIGHTS)
    assert {strike.fault for _, strike in _strikes(_PLANS_ON_HOSTS)} == set(Fault)
    assert {plan.hosts for plan in _PLANS_ON_HOSTS} == {2, 3, 4}
    assert {strike.moment.sign for strike in strikes} == set(Sign)
    assert {(plan.manner, plan.table) for plan in _PLANS} == {(way, table) for way in SPECS for table in SPECS[way]}
    assert set(SPECS) == set(Manner)
    assert {len(phase.runs) for plan in _PLANS for phase in plan.phases} == {1, 2}
    assert {len(phase.partitions) for plan in _PLANS for phase in plan.phases} == {1, 2, 3, 4}


def test_a_fault_that_lasts_has_an_end_and_one_of_the_proxy_s_has_a_proxy() -> None:
    for plan, strike in _strikes([*_PLANS, *_PLANS_ON_HOSTS]):
        assert (strike.lasts_s > 0) == (strike.fault in LASTING_FAULTS)
        assert plan.through_proxy or strike.fault not in PROXY_FAULTS


def test_failpoints_are_rules_that_hold_once_and_forge_no_green_run() -> None:
    texts = [run.failpoints for plan in _PLANS for phase in plan.phases for run in phase.runs if run.failpoints]
    rules = [_parse(text) for joined in texts for text in joined.split(";")]
    assert len(rules) > 100
    for rule in rules:
        names = {name for name, _ in rule.conditions}
        if "chunk" in names:
            assert ("attempt", "1") in rule.conditions
        else:
            assert rule.action not in {"exit0", "sleep", "sigstop"}


def test_strikes_at_machines_with_whole_runs_need_no_head_elsewhere() -> None:
    plans = [plan_round(seed, hosts_max=2, whole_runs=True) for seed in range(100)]
    strikes = {strike.fault for _, strike in _strikes(plans)}
    assert strikes & set(HOST_WEIGHTS) == set(RUN_HOST_WEIGHTS)
    runs = [run for plan in plans for phase in plan.phases for run in phase.runs]
    assert {bool(run.keys) for run in runs} == {False, True}
    assert all(not phase.runs[0].keys for plan in plans for phase in plan.phases), "the first loads all partitions"


@pytest.mark.parametrize("host", [Host.this(), Host("north", 3), Host("north (127.0.0.1)", 4)])
def test_the_death_of_a_worker_is_read_from_the_line_that_tells_it(host: Host) -> None:
    told = f"host north: worker {host.told(4711)} died (partition 2024-03-01, chunk 7, attempt 2): signal: ended by SIGKILL"
    assert read_death(1.0, told) == Death(4711, 1.0, "2024-03-01", 7, 2)
    assert read_death(1.0, f"worker {host.told(4711)} died (idle): signal") == Death(4711, 1.0, None, None, None)
    assert read_death(1.0, f"worker {host.told(4711)} is replaced") is None


def test_runs_have_settings_that_a_load_takes() -> None:
    for plan in [*_PLANS, *_PLANS_ON_HOSTS]:
        for phase in plan.phases:
            for run in phase.runs:
                chosen = {name: getattr(run, name) for name in run.__slots__ if name in WriterSettings.model_fields}
                assert WriterSettings.model_validate({**FAST, **chosen}).workers == run.workers


@pytest.mark.parametrize("table", TABLES)
def test_a_version_has_as_many_bad_rows_as_planned_and_shares_no_row_with_another(table: str) -> None:
    repeated = 3 if table in {"events", "orders"} else 0
    refused_by_server = 0 if table == "readings" else 4
    key = "all" if table == "readings" else "2024-03-02"
    plan = PartitionPlan(key, 300, 2, refused_by_server, repeated)
    first, second = make_version(table, plan, 1), make_version(table, plan, 2)
    for version in (first, second):
        assert len(version.rows) == 300
        assert len(version.bad) == 2 + refused_by_server + repeated
        assert [row for row in version.rows if row not in version.bad] == version.good
    assert not [row for row in first.rows if row in second.rows]


@pytest.mark.parametrize("table", TABLES)
def test_the_reader_knows_the_columns_of_its_table(table: str) -> None:
    assert list(COLUMN_TYPES[table]) == [
        column.name for column in Contract.of(SPECS[Manner.REPLACED][table].row).columns
    ]


def test_what_is_appended_or_upserted_has_one_version() -> None:
    assert {len(plan.phases) for plan in _PLANS if plan.manner in {Manner.APPENDED, Manner.UPSERTED}} == {1}
    assert {len(plan.phases) for plan in _PLANS if plan.manner is Manner.SPOOLED} == {1, 2, 3}
