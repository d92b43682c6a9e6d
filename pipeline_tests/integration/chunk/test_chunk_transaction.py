"""The chunk transaction by itself: fenced, claimed once, all or nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import pytest

from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one, set_failpoints
from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables import DAY, EVENTS, changed, events, write_source
from pipeline_tests.support.waiting import wait_until
from rowledger.chunk.jobs import ChunkJob
from rowledger.chunk.transaction import PreparedChunk, commit_chunk, prepare_chunk
from rowledger.contract.check import Contract
from rowledger.errors import ChunkFailed, DeadLetterBudgetSpent, Fenced
from rowledger.failpoints import FailpointError
from rowledger.ledger.counts import RowCounts
from rowledger.ledger.loads import Holder, insert_load, take_over_load
from rowledger.ledger.outcomes import AlreadyCommitted, Committed
from rowledger.machine import ProcessIdentity
from rowledger.postgres.catalogue import Target, ensure_target
from rowledger.postgres.session import Session, connect
from rowledger.postgres.staging import create_staging
from rowledger.settings import WriterSettings
from rowledger.spec.manifest import Manifest
from rowledger.spec.source import SourceContext

_SETTINGS = WriterSettings(chunk_rows_max=100, batch_rows=32, lock_timeout_s=20)
_CHUNK = (
    "select state, written_rows, dead_lettered_rows, attempt, worker_pid, worker_host "
    "from rowledger.chunk where chunk_no = 0"
)


@dataclass(frozen=True)
class _Begun:
    """A load with one chunk of 100 rows, two of which break the contract, and two sessions to write it from."""

    target: Target
    job: ChunkJob
    prepared: PreparedChunk
    one: Session
    other: Session

    async def commit(self, session: Session, job: ChunkJob | None = None) -> Committed | AlreadyCommitted:
        async with asyncio.timeout(30):
            outcome = await commit_chunk(
                session,
                self.prepared,
                job or self.job,
                _SETTINGS,
                worker=ProcessIdentity(1, "node-1"),
                on_progress=lambda _: None,
            )
            return outcome.model_copy(update={"check_s": 0.0})  # the one figure that differs each time


@contextlib.asynccontextmanager
async def _begun(database: str, landing: Path) -> AsyncIterator[_Begun]:
    write_source(landing, "events", DAY, changed(events(100), {3: {"event_id": -1}, 4: {"name": None}}))
    partition = partition_of(EVENTS, DAY)
    manifest = Manifest.of(list(EVENTS.source.chunks(partition, SourceContext(landing, landing, chunk_rows_max=100))))
    sessions = [await connect(database, application_name="test", timeout_s=10) for _ in range(2)]
    try:
        connection = sessions[0].connection
        target = await ensure_target(connection, EVENTS, Contract.of(EVENTS.row).columns, [partition])
        async with connection.transaction():
            new = await insert_load(
                connection,
                EVENTS,
                partition,
                manifest,
                "run",
                contract_digest="",
                holder=Holder.this_process(),
                lease_s=30,
            )
            assert new is not None
            handle = new.handle
            await create_staging(connection, target, handle, partition)
        job = ChunkJob(handle, partition, manifest.chunks[0], target.columns, attempt=1, dead_letters_max=50)
        prepared = prepare_chunk(EVENTS, job, _SETTINGS, lambda _: None)
        yield _Begun(target, job, prepared, sessions[0], sessions[1])
    finally:
        for session in sessions:
            session.connection.terminate()


def _counts(database: str, begun: _Begun) -> tuple[int, int]:
    """Rows in staging, and dead letters."""
    return (
        fetch_value(database, f"select count(*) from rowledger.{begun.job.handle.staging_table}"),
        fetch_value(database, "select count(*) from rowledger.dead_letter"),
    )


async def _waits(database: str, rival: asyncio.Task[object]) -> None:
    """Until the rival waits for a lock, which it must not do without."""
    waiting = (
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'test'"
        " and datname = current_database()"
    )
    await asyncio.to_thread(
        wait_until, lambda: rival.done() or fetch_value(database, waiting), "a session waits for a lock"
    )
    assert not rival.done()


def _run(database: str, tmp_path: Path, story: Callable[[_Begun], object]) -> None:
    async def tell() -> None:
        async with _begun(database, tmp_path) as begun:
            await story(begun)  # type: ignore[misc]

    asyncio.run(tell())


def test_rows_dead_letters_and_counts_commit_together_and_once(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        first = await begun.commit(begun.one)
        assert first == Committed(counts=RowCounts(100, 98, 2))
        again = await begun.commit(begun.other, replace(begun.job, attempt=2))
        assert again == AlreadyCommitted(counts=RowCounts(100, 98, 2))
        assert await asyncio.to_thread(_counts, database, begun) == (98, 2)
        row = await begun.one.connection.fetchrow(_CHUNK)
        assert tuple(row) == ("committed", 98, 2, 1, 1, "node-1")
        letters = await begun.one.connection.fetch("select worker_pid, worker_host from rowledger.dead_letter")
        assert [tuple(letter) for letter in letters] == [(1, "node-1")] * 2

    _run(database, tmp_path, story)


def test_an_earlier_holder_of_the_load_cannot_write(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        later = await take_over_load(begun.other.connection, begun.job.handle, begun.job.partition, "another run")
        assert later is not None
        assert later.epoch == begun.job.handle.epoch + 1
        with pytest.raises(Fenced, match="epoch 1"):
            await begun.commit(begun.one)
        assert await asyncio.to_thread(_counts, database, begun) == (0, 0)
        assert await begun.commit(begun.one, replace(begun.job, handle=later)) == Committed(
            counts=RowCounts(100, 98, 2)
        )

    _run(database, tmp_path, story)


def test_of_two_rivals_one_takes_a_load_over(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        won = await asyncio.gather(
            *(
                take_over_load(session.connection, begun.job.handle, begun.job.partition, "run")
                for session in (begun.one, begun.other)
            )
        )
        assert [handle is None for handle in won].count(True) == 1

    _run(database, tmp_path, story)


@pytest.mark.parametrize("state", ["published", "rejected", "abandoned", "replaced"])
def test_a_load_that_has_ended_takes_no_chunk(database: str, tmp_path: Path, state: str) -> None:
    async def story(begun: _Begun) -> None:
        await begun.other.connection.execute("update rowledger.load set state = $1", state)
        with pytest.raises(Fenced):
            await begun.commit(begun.one)
        assert await asyncio.to_thread(_counts, database, begun) == (0, 0)

    _run(database, tmp_path, story)


def test_a_takeover_waits_for_the_chunk_that_is_being_written(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(begun: _Begun) -> None:
        set_failpoints(monkeypatch, "before_commit=raise")
        with pytest.raises(FailpointError):  # the session is left in its transaction, as a frozen worker's is
            await begun.commit(begun.one)
        takeover = asyncio.create_task(
            take_over_load(begun.other.connection, begun.job.handle, begun.job.partition, "run")
        )
        await _waits(database, takeover)
        await begun.one.connection.execute("commit")
        later = await takeover
        assert later is not None
        set_failpoints(monkeypatch, "")
        late = await begun.commit(begun.other, replace(begun.job, handle=later, attempt=2))
        assert late == AlreadyCommitted(counts=RowCounts(100, 98, 2))
        assert await asyncio.to_thread(_counts, database, begun) == (98, 2)

    _run(database, tmp_path, story)


@pytest.mark.parametrize("end", ["commit", "rollback", "terminate"])
def test_a_retry_waits_for_the_transaction_in_doubt_and_then_knows(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    async def story(begun: _Begun) -> None:
        set_failpoints(monkeypatch, "before_commit=raise@attempt=1")
        with pytest.raises(FailpointError):
            await begun.commit(begun.one)
        retry = asyncio.create_task(begun.commit(begun.other, replace(begun.job, attempt=2)))
        await _waits(database, retry)
        if end == "terminate":
            await asyncio.to_thread(fetch, database, "select pg_terminate_backend($1)", begun.one.identity.pid)
        else:
            await begun.one.connection.execute(end)
        kind = AlreadyCommitted if end == "commit" else Committed
        assert await retry == kind(counts=RowCounts(100, 98, 2))
        assert await asyncio.to_thread(_counts, database, begun) == (98, 2)
        attempt = await begun.other.connection.fetchval("select attempt from rowledger.chunk")
        assert attempt == (1 if end == "commit" else 2)

    _run(database, tmp_path, story)


def test_two_attempts_at_once_write_the_chunk_once(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        outcomes = await asyncio.gather(
            begun.commit(begun.one), begun.commit(begun.other, replace(begun.job, attempt=2))
        )
        assert sorted(outcome.kind for outcome in outcomes) == ["already_committed", "committed"]
        assert await asyncio.to_thread(_counts, database, begun) == (98, 2)

    _run(database, tmp_path, story)


def test_a_failed_attempt_leaves_neither_rows_nor_dead_letters(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(begun: _Begun) -> None:
        for place in ("before_begin", "after_claim", "mid_copy", "before_commit"):
            set_failpoints(monkeypatch, f"{place}=raise")
            session = await connect(database, application_name="test", timeout_s=10)
            with pytest.raises((FailpointError, asyncpg.PostgresError)):
                await begun.commit(session)
            session.connection.terminate()
        set_failpoints(monkeypatch, "")
        assert await asyncio.to_thread(_counts, database, begun) == (0, 0)
        assert await begun.commit(begun.one) == Committed(counts=RowCounts(100, 98, 2))

    _run(database, tmp_path, story)


def test_a_chunk_that_does_not_add_up_is_not_committed(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        short = replace(
            begun,
            prepared=replace(begun.prepared, rejected=begun.prepared.rejected[:1]),
        )
        with pytest.raises(
            ChunkFailed, match="100 rows enqueued and 0 added, but 98 written, 1 dead-lettered and 0 filtered"
        ):
            await short.commit(begun.one)
        begun.one.connection.terminate()
        assert await asyncio.to_thread(_counts, database, begun) == (0, 0)

    _run(database, tmp_path, story)


def test_a_chunk_of_which_the_server_takes_fewer_rows_than_were_sent_is_not_committed(
    database: str, tmp_path: Path
) -> None:
    async def story(begun: _Begun) -> None:
        await begun.other.connection.execute(
            "create function public.swallow() returns trigger language plpgsql as "
            "$$ begin if new.event_id = 57 then return null; end if; return new; end $$;"
            f"create trigger swallow before insert on rowledger.{begun.job.handle.staging_table} "
            "for each row execute function public.swallow()"
        )
        with pytest.raises(ChunkFailed, match=r"sent 98 rows .* the server answered 'COPY 97'"):
            await begun.commit(begun.one)
        begun.one.connection.terminate()
        assert await asyncio.to_thread(_counts, database, begun) == (0, 0)

    _run(database, tmp_path, story)


def test_a_chunk_whose_dead_letters_cannot_be_kept_is_not_committed(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        await begun.other.connection.execute(
            "alter table rowledger.dead_letter add constraint refuse check (row_no <> 4)"
        )
        with pytest.raises(asyncpg.CheckViolationError):
            await begun.commit(begun.one)
        begun.one.connection.terminate()
        assert await asyncio.to_thread(_counts, database, begun) == (0, 0)
        assert (await begun.other.connection.fetchrow(_CHUNK))["state"] == "pending"

    _run(database, tmp_path, story)


def test_rows_set_aside_become_dead_letters_untried(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        # Row 4 breaks the contract, but nobody may look at it any more.
        job = replace(begun.job, set_aside={4: "it kills", 50: "this one too"})
        prepared = prepare_chunk(EVENTS, job, _SETTINGS, lambda _: None)
        outcome = await replace(begun, prepared=prepared).commit(begun.one, job)
        assert outcome == Committed(counts=RowCounts(100, 97, 3))
        letters = await begun.one.connection.fetch(
            "select row_no, stage, reason, payload->>'event_id' as event_id from rowledger.dead_letter order by row_no"
        )
        assert [tuple(letter) for letter in letters if letter["stage"] == "crash"] == [
            (4, "crash", "it kills", "4"),
            (50, "crash", "this one too", "50"),
        ]
        assert [letter["row_no"] for letter in letters] == [3, 4, 50]

    _run(database, tmp_path, story)


def test_a_spent_budget_keeps_the_dead_letters_and_none_of_the_rows(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        tight = replace(begun.job, dead_letters_max=1)
        for _ in range(2):
            with pytest.raises(DeadLetterBudgetSpent, match="the partition may have 1"):
                await begun.commit(begun.one, tight)
            assert await asyncio.to_thread(_counts, database, begun) == (0, 2)
        assert (await begun.one.connection.fetchrow(_CHUNK))["state"] == "pending"
        assert await begun.commit(begun.one) == Committed(counts=RowCounts(100, 98, 2))
        assert await asyncio.to_thread(_counts, database, begun) == (98, 2)

    _run(database, tmp_path, story)


def test_a_chunk_that_the_ledger_does_not_know_is_not_written(database: str, tmp_path: Path) -> None:
    async def story(begun: _Begun) -> None:
        await begun.other.connection.execute("delete from rowledger.chunk")
        with pytest.raises(ChunkFailed, match="no chunk 0 in the ledger"):
            await begun.commit(begun.one)
        assert await asyncio.to_thread(_counts, database, begun) == (0, 0)

    _run(database, tmp_path, story)


def test_rows_far_beyond_the_budget_are_counted_and_not_all_kept(database: str, tmp_path: Path) -> None:
    rows = events(10_050)
    write_source(tmp_path, "events", DAY, changed(rows, {number: {"event_id": -1} for number in range(10_040)}))
    report = load_one(database, EVENTS, tmp_path, DAY, chunk_rows_max=20_000)
    assert isinstance(report.error, DeadLetterBudgetSpent)
    assert "10040 rows were refused, the budget is 200" in str(report.error)
    assert "and 10000 of them are kept as dead letters" in str(report.error)
    assert fetch_value(database, "select count(*) from rowledger.dead_letter") == 10_000
    assert fetch_value(database, "select count(*) from events") == 0
