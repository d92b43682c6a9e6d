"""Proof that the nemesis's checkers check: what was doctored by hand is found, and what was left alone is not."""

import contextlib
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from pipeline_tests.faults.nemesis.plan import PartitionPlan
from pipeline_tests.faults.nemesis.sources import SourceVersion, make_version, write_version
from pipeline_tests.faults.nemesis.verdict import Balance, judge_leftovers, judge_rows
from pipeline_tests.faults.nemesis.witness import EMPTY, Reader, expected_state
from pipeline_tests.support.database import fetch
from pipeline_tests.support.loading import load
from pipeline_tests.support.sour_tables import make_sour_table
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY

Versions = list[SourceVersion]
_BAD_ROWS = {"refused_by_contract": 2, "refused_by_server": 3, "repeated_keys": 2}


@pytest.fixture(scope="module")
def loaded(server: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Versions]]:
    """Two partitions of events with rows of every kind, loaded; the name of the database, which is cloned for each test."""
    landing = tmp_path_factory.mktemp("landing")
    versions = [make_version("events", PartitionPlan(day, 300, **_BAD_ROWS), 1) for day in (DAY, NEXT_DAY)]
    for version in versions:
        write_version(landing, "events", version, row_group_rows=100)
    with _clone(server, _template) as name:
        make_sour_table(_url(server, name), "events")
        reports = load(_url(server, name), EVENTS, landing, [DAY, NEXT_DAY], workers=2)
        assert [report.error for report in reports] == [None, None]
        yield name, versions


@pytest.fixture
def doctored(server: str, loaded: tuple[str, Versions]) -> Iterator[str]:
    """The URL of a copy of the loaded database, to be doctored."""
    with _clone(server, loaded[0]) as name:
        yield _url(server, name)


@pytest.fixture
def versions(loaded: tuple[str, Versions]) -> Versions:
    return loaded[1]


@contextlib.contextmanager
def _clone(server: str, template: str) -> Iterator[str]:
    name = f"rowledger_doctored_{uuid.uuid4().hex[:12]}"
    fetch(server, f"create database {name} template {template}")
    try:
        yield name
    finally:
        fetch(server, f"drop database {name} with (force)")


def _url(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


_AGAIN = "insert into events select * from events where event_id = 7"
_NO_KEY = "alter table events drop constraint events_pkey"
_DEAD_TWICE = (
    "insert into rowledger.dead_letter (load_id, chunk_no, row_no, stage, reason, attempt, worker_pid, payload) "
    "select load_id, chunk_no, row_no + 1, stage, reason, attempt, worker_pid, payload "
    "from rowledger.dead_letter where stage = 'key'"
)


@pytest.mark.parametrize(
    ("statements", "balance"),
    [
        ((), Balance()),
        (("delete from events where event_id in (7, 9)",), Balance(lost=4)),
        (("update events set name = name || '.' where event_id = 7",), Balance(altered=2)),
        (("update events set amount = amount + 1e-9 where event_id = 7",), Balance(altered=2)),
        ((_NO_KEY, _AGAIN), Balance(duplicated=2)),
        # As many duplicates as losses: the counts are even.
        ((_NO_KEY, _AGAIN, "delete from events where event_id = 9"), Balance(lost=2, duplicated=2)),
        (("delete from rowledger.dead_letter where stage = 'contract'",), Balance(lost=4)),
        ((_DEAD_TWICE,), Balance(duplicated=4)),
        (("update rowledger.load set state = 'rejected' where partition_key = '2024-03-01'",), Balance(lost=7)),
    ],
)
def test_doctored_rows_are_counted(
    doctored: str, versions: Versions, statements: tuple[str, ...], balance: Balance
) -> None:
    for statement in statements:
        fetch(doctored, statement)
    found, findings = judge_rows(doctored, EVENTS, versions)
    assert found == balance
    assert bool(findings) == bool(statements)


def test_a_good_row_among_the_dead_letters_is_found_though_every_row_is_in_one_place(
    doctored: str, versions: Versions
) -> None:
    moved = "select row_to_json(e) from events e where event_id = 17 and at < '2024-03-02'"
    fetch(
        doctored,
        "insert into rowledger.dead_letter (load_id, chunk_no, row_no, stage, reason, attempt, worker_pid, payload) "
        f"select min(load_id), 0, 17, 'contract', 'by hand', 1, 1, ({moved}) from rowledger.load",
    )
    fetch(doctored, "delete from events where event_id = 17 and at < '2024-03-02'")
    balance, findings = judge_rows(doctored, EVENTS, versions)
    assert balance == Balance()
    assert "1 good rows among the dead letters" in findings[0]


def test_a_lease_a_staging_table_and_a_chunk_that_never_committed_are_left_overs(
    doctored: str, versions: Versions
) -> None:
    assert judge_leftovers(doctored, EVENTS, versions) == []
    fetch(doctored, "create table rowledger.staging_4711 (n integer)")
    assert "staging_4711" in judge_leftovers(doctored, EVENTS, versions)[0]
    fetch(doctored, "drop table rowledger.staging_4711")
    fetch(
        doctored,
        "insert into rowledger.lease (load_id, holder, holder_pid, holder_host, backend_pid, backend_start) "
        "select min(load_id), gen_random_uuid(), 1, 'here', 1, now() from rowledger.load",
    )
    assert "rowledger.lease" in judge_leftovers(doctored, EVENTS, versions)[0]
    fetch(doctored, "delete from rowledger.lease")
    fetch(doctored, "update rowledger.chunk set state = 'pending' where chunk_no = 1")
    assert (
        "pending" in judge_leftovers(doctored, EVENTS, versions)[0]
        or "state" in judge_leftovers(doctored, EVENTS, versions)[0]
    )


def test_a_reader_knows_whole_versions_from_parts_and_mixes(doctored: str, versions: Versions) -> None:
    whole = {version.key: [expected_state(doctored, "events", version)] for version in versions}
    reader = Reader(doctored, EVENTS, list(whole))
    assert reader.read_once()
    assert reader.seen == whole
    assert reader.judge(whole) == []
    # One row of another version, as many rows as before.
    fetch(doctored, "update events set name = 'version 2' || substr(name, 10) where event_id = 7 and at < '2024-03-02'")
    assert reader.read_once()
    findings = reader.judge(whole)
    assert len(findings) == 1
    assert DAY in findings[0]


def test_a_reader_notices_when_a_partition_goes_back_or_empty() -> None:
    older, newer = (7, "older"), (7, "newer")
    reader = Reader("", EVENTS, [DAY])
    for seen, is_fine in [
        ([EMPTY, older, newer], True),
        ([older], True),
        ([older, newer, older], False),
        ([older, EMPTY], False),
    ]:
        reader.seen = {DAY: list(seen)}
        assert (reader.judge({DAY: [older, newer]}) == []) == is_fine
