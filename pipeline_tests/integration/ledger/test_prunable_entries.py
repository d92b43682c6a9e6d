"""What `rowledger prune` leaves, need by need: an old entry goes, and the same entry stays once an answer needs it."""

import pytest

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.tables import DAY, NEXT_DAY, THIRD_DAY
from rowledger.ledger import PrunableEntries, find_prunable, prune

_LOAD = """
insert into rowledger.load (
    table_name, target, partition_key, partition, state, manifest_digest, enqueued_rows, chunks, run_id, started_at, ended_at
)
values ('events', 'public.events', $1, '{}', $2, '', 1, 1, $3, now() - interval '2 h', now() - make_interval(mins => $4))
returning load_id
"""
_FAILURE = """
insert into rowledger.failed_attempt (table_name, target, partition_key, load_id, kind, reason, failed_at)
values ('events', 'public.events', $1, $2, 'SourceError', 'no file', now() - make_interval(mins => $3))
returning attempt_id
"""
_INCIDENT = """
insert into rowledger.incident (load_id, attempt, kind, pid, host, summary, run_id, detected_at)
values ($1, 1, 'stall', 7, 'here', 'a worker stood still', $2, now() - interval '2 h')
returning incident_id
"""
_CHUNK = """
insert into rowledger.chunk (load_id, chunk_no, first_row, enqueued_rows, descriptor) values ($1, 0, 0, 1, '{}')
"""
_LETTER = """
insert into rowledger.dead_letter (load_id, chunk_no, row_no, stage, reason, attempt, worker_pid, payload, state)
values ($1, 0, 0, 'contract', 'too small', 1, 7, '{}', $2)
"""
_HOUR_S = 3_600.0


def _load(database: str, state: str, *, minutes: int, key: str = DAY, run_id: str = "run") -> int:
    """An entry of a load that ended so many minutes ago, with its chunk."""
    number = int(fetch_value(database, _LOAD, key, state, run_id, minutes))
    fetch(database, _CHUNK, number)
    return number


def _failure(database: str, *, minutes: int, key: str = DAY, of: int | None = None) -> int:
    return int(fetch_value(database, _FAILURE, key, of, minutes))


def _note_entries(database: str) -> None:
    """The entries are as Rowledger would have written them."""
    fetch(database, "update rowledger.load as entry set entry_digest = rowledger.digest_of_entry(entry)")


def _found(database: str, *, table: str | None = None) -> PrunableEntries:
    return find_prunable(database, older_than_s=_HOUR_S, table=table)


_EARLIER = "update rowledger.load set {} where load_id = (select min(load_id) from rowledger.load)"
_LATER = "update rowledger.load set {} where load_id = (select max(load_id) from rowledger.load)"
NEEDS = {
    "it is what readers see": _EARLIER.format("state = 'published', write_mode = 'append'"),
    "it can be resumed": _EARLIER.format("state = 'loading', ended_at = null"),
    "it ended a moment ago": _EARLIER.format("ended_at = now()"),
    "it is the latest of its partition": _LATER.format(f"partition_key = '{NEXT_DAY}'"),
    "it is the latest of its target": _LATER.format("target = 'public.others'"),
    "it is the latest of its table": _LATER.format("table_name = 'others'"),
    "the later one had nothing to add": _LATER.format("state = 'repeated'"),
    "the later one may turn out to have nothing to add": _LATER.format("state = 'loading', ended_at = null"),
    "it alone knows the partition's bounds": _LATER.format("partition = null"),
    "it alone shows that the target was in use": _LATER.format("state = 'rejected'"),
    "a published load adds to what it found": _LATER.format("base_load_id = 1"),
    "a run holds it": "insert into rowledger.lease (load_id, holder, holder_pid, holder_host, backend_pid, backend_start) "
    "select min(load_id), gen_random_uuid(), 1, 'here', 1, now() from rowledger.load",
    "a failure that is told is of it": "insert into rowledger.failed_attempt "
    "(table_name, target, partition_key, load_id, kind, reason, failed_at) "
    "select table_name, target, partition_key, min(load_id), 'SourceError', 'no file', now() - interval '80 min' "
    "from rowledger.load group by 1, 2, 3",
}


@pytest.mark.parametrize("need", NEEDS)
def test_an_ended_load_stays_while_an_answer_needs_it(database: str, need: str) -> None:
    earlier = _load(database, "replaced", minutes=100)
    later = _load(database, "published", minutes=90)
    assert (earlier, later) == (1, 2)
    _note_entries(database)
    assert _found(database).loads == (earlier,)

    fetch(database, NEEDS[need])
    _note_entries(database)

    assert _found(database).loads == ()


@pytest.mark.parametrize("state", ["rejected", "abandoned", "repeated", "replaced"])
def test_a_load_of_each_state_that_is_over_goes_with_all_that_it_has(database: str, state: str) -> None:
    over = _load(database, state, minutes=100)
    later = _load(database, "published", minutes=90)
    for load_id in (over, later):
        fetch_value(database, _INCIDENT, load_id, "run")
        fetch(database, _LETTER, load_id, "replayed")
    attempt = _failure(database, minutes=99, of=over)
    _note_entries(database)

    found = _found(database, table="events")
    assert (found.loads, found.attempts) == ((over,), (attempt,))
    assert prune(database, found) == found.counts == dict.fromkeys(found.counts, 1)

    for table in ("load", "chunk", "incident", "dead_letter"):
        assert [row[0] for row in fetch(database, f"select load_id from rowledger.{table}")] == [later]
    assert fetch_value(database, "select count(*) from rowledger.failed_attempt") == 0


@pytest.mark.parametrize("state", ["open", "corrected"])
def test_a_load_with_an_unresolved_dead_letter_stays(database: str, state: str) -> None:
    earlier = _load(database, "rejected", minutes=100)
    _load(database, "published", minutes=90)
    fetch(database, _LETTER, earlier, state)
    _note_entries(database)
    found = _found(database)
    assert (found.loads, found.kept_loads, found.dead_letters) == ((), (earlier,), 0)


def test_a_list_that_has_grown_old_deletes_nothing_that_is_needed(database: str) -> None:
    """Whatever is asked for: what the statements delete they look at once more."""
    loads = [_load(database, state, minutes=100) for state in ("published", "replaced", "replaced", "replaced")]
    fetch(database, "update rowledger.load set state = 'loading' where load_id = $1", loads[1])
    fetch(
        database, "update rowledger.load set state = 'published', partition_key = 'empty' where load_id = $1", loads[2]
    )
    fetch(database, "delete from rowledger.chunk where load_id = $1", loads[2])
    fetch(database, _LETTER, loads[0], "discarded")
    fetch(database, _LETTER, loads[3], "open")

    deleted = prune(database, PrunableEntries(loads=tuple(loads), kept_loads=(loads[3],)))

    assert not any(deleted.values())
    for table, rows in {"load": 4, "chunk": 3, "dead_letter": 2}.items():
        assert fetch_value(database, f"select count(*) from rowledger.{table}") == rows


def test_one_table_s_prune_leaves_the_others_alone(database: str) -> None:
    for table in ("events", "others"):
        _load(database, "replaced", minutes=100)
        _load(database, "published", minutes=90)
        _failure(database, minutes=110)
        for of in ("load", "failed_attempt"):
            fetch(
                database, f"update rowledger.{of} set table_name = $1, target = $1 where target like 'public.%'", table
            )
    fetch_value(database, _INCIDENT, None, "a run without loads")
    _note_entries(database)
    of_one, of_all = _found(database, table="others"), _found(database)
    assert (of_one.loads, of_one.attempts, of_one.incidents_of_runs) == ((3,), (2,), ())
    assert (of_all.loads, of_all.attempts, of_all.incidents_of_runs) == ((1, 3), (1, 2), (1,))


def test_a_failure_goes_once_something_later_is_told_instead(database: str) -> None:
    earlier = _failure(database, minutes=130)
    _failure(database, minutes=125, key=THIRD_DAY)
    assert _found(database).attempts == ()
    later = _failure(database, minutes=120)
    assert _found(database).attempts == (earlier,)

    for load in (
        {"state": "published", "minutes": 110, "key": NEXT_DAY},
        {"state": "repeated", "minutes": 110},
        {"state": "published", "minutes": 125},
    ):
        _load(database, **load)
        assert _found(database).attempts == (earlier,)
    fetch(database, "update rowledger.load set ended_at = now() - interval '115 min' where load_id = 3")
    assert _found(database).attempts == (earlier, later)

    fetch(database, "update rowledger.failed_attempt set failed_at = now()")
    assert _found(database).attempts == ()


def test_an_incident_of_a_run_goes_with_the_run_s_loads(database: str) -> None:
    _load(database, "replaced", minutes=100, run_id="over")
    _load(database, "published", minutes=90, run_id="seen")
    of_over, _ = (int(fetch_value(database, _INCIDENT, None, run_id)) for run_id in ("over", "seen"))
    _note_entries(database)
    assert _found(database).incidents_of_runs == (of_over,)
    fetch(database, "update rowledger.incident set detected_at = now()")
    assert _found(database).incidents_of_runs == ()
