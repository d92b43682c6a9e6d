"""An ended load whose ledger entry was edited by hand makes red what would go by it; what Rowledger itself wrote does not."""

from pathlib import Path

import pytest

from pipeline_tests.support.assertions import edited_loads, table_rows
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.replaying import replay
from pipeline_tests.support.tables_of_write_modes import APPENDED, DAY, REPLACED, UPSERTED, sales, write_sales
from rowledger.errors import DiscrepancyFound, RowledgerError
from rowledger.publish.forget import run_forget
from rowledger.publish.verify import run_verify
from rowledger.spec.manifest import Manifest
from rowledger.spec.source import SourceContext

OTHER = sales(range(100, 250))
EDITS = {
    "another source's digest": "update rowledger.load set content_digest = $1, epoch = 1 + (content_digest = $1)::integer",
    "a digest of nothing": "update rowledger.load set content_digest = left('x' || $1, 8) where load_id = 1",
    "replaced": "update rowledger.load set state = 'replaced' where load_id = 1 and $1 <> ''",
    "abandoned": "update rowledger.load set state = 'abandoned' where load_id = 1 and $1 <> ''",
    "another partition": "update rowledger.load set partition_key = '2024-03-09' where load_id = 1 and $1 <> ''",
    "another write mode": "update rowledger.load set write_mode = 'upsert' where load_id = 1 and $1 <> ''",
    "another base": "update rowledger.load set base_load_id = null where load_id = 1 and $1 <> ''",
    "found rows": "update rowledger.load set found_rows = 7 where load_id = 1 and $1 <> ''",
    "another manifest": "update rowledger.load set manifest_digest = left('x' || $1, 8) where load_id = 1",
    "an epoch": "update rowledger.load set epoch = 9 where load_id = 1 and $1 <> ''",
    "enqueued rows": "update rowledger.load set enqueued_rows = 150 where load_id = 1 and $1 <> ''",
}
CHUNK_EDITS = {
    "counts that balance": "update rowledger.chunk set enqueued_rows = enqueued_rows + 50, written_rows = written_rows + 50 "
    "where load_id = 1",
    "filtered and added": "update rowledger.chunk set filtered_rows = 3, added_rows = 3 where load_id = 1",
    "a fingerprint": "update rowledger.chunk set fingerprint = '{}' where load_id = 1",
    "a chunk's digest": "update rowledger.chunk set digest = 'x' where load_id = 1",
}


_RESTORED = """update rowledger.load set (content_digest, state, partition_key, write_mode, base_load_id, found_rows,
manifest_digest, epoch, enqueued_rows) = (select content_digest, state, partition_key, write_mode, base_load_id, found_rows,
manifest_digest, epoch, enqueued_rows from public.entry)"""


def _content_digest(landing: Path) -> str:
    """Of the rows that the source has now."""
    partition = partition_of(APPENDED, DAY)
    return Manifest.of(list(APPENDED.source.chunks(partition, SourceContext(landing, landing, 100)))).content_digest


def test_an_append_goes_by_no_entry_that_was_edited(database: str, tmp_path: Path) -> None:
    write_sales(tmp_path, DAY, sales(range(100)))
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    before = table_rows(database, APPENDED)
    fetch(database, "create table public.entry as select * from rowledger.load")
    for edit in EDITS.values():
        for rows in (sales(range(100)), OTHER):
            write_sales(tmp_path, DAY, rows)
            fetch(database, edit, _content_digest(tmp_path))
            with pytest.raises(
                DiscrepancyFound, match=r"the ledger's entries of load 1 .*changed by hand.*rowledger forget"
            ):
                load_one(database, APPENDED, tmp_path, DAY)
            fetch(database, _RESTORED)
    assert table_rows(database, APPENDED) == before
    write_sales(tmp_path, DAY, sales(range(100)))
    assert load_one(database, APPENDED, tmp_path, DAY).error is None


def test_a_repeated_append_is_confirmed_by_entries_that_are_as_written(database: str, tmp_path: Path) -> None:
    write_sales(tmp_path, DAY, sales(range(100)))
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    for edit in CHUNK_EDITS.values():
        fetch(database, "create table public.chunks as select * from rowledger.chunk")
        fetch(database, edit)
        (verification,) = run_verify(APPENDED, url=database)
        assert not verification.passed
        assert "the ledger's entry of load 1 was changed by hand" in verification.checks[0].summary
        assert isinstance(load_one(database, APPENDED, tmp_path, DAY).error, DiscrepancyFound)
        fetch(database, "delete from rowledger.chunk")
        fetch(database, "insert into rowledger.chunk select * from public.chunks")
        fetch(database, "drop table public.chunks")
    assert all(result.passed for result in run_verify(APPENDED, url=database))


def test_a_repeated_append_must_have_enqueued_what_the_source_has(database: str, tmp_path: Path) -> None:
    """Even where the digest of the entry was edited along."""
    write_sales(tmp_path, DAY, sales(range(100)))
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    write_sales(tmp_path, DAY, OTHER)
    fetch(database, EDITS["another source's digest"], _content_digest(tmp_path))
    fetch(database, "update rowledger.load as entry set entry_digest = rowledger.digest_of_entry(entry)")
    error = load_one(database, APPENDED, tmp_path, DAY).error
    assert isinstance(error, DiscrepancyFound)
    assert "it enqueued 100 and the source has 150" in str(error)


def test_an_upsert_goes_by_no_entry_that_was_edited(database: str, tmp_path: Path) -> None:
    write_sales(tmp_path, DAY, sales(range(30)))
    assert load_one(database, UPSERTED, tmp_path, DAY).error is None
    fetch(database, "update rowledger.load set updated_rows = 5")
    with pytest.raises(DiscrepancyFound, match="changed by hand"):
        load_one(database, UPSERTED, tmp_path, DAY)


def test_a_replay_does_not_write_over_an_edit(database: str, tmp_path: Path) -> None:
    write_sales(tmp_path, DAY, [*sales(range(30)), *sales(range(1))])  # a key that comes twice is a dead letter
    assert load_one(database, REPLACED, tmp_path, DAY).error is None
    fetch(database, "delete from public.replaced where sale_id = 0")
    fetch(
        database, "update rowledger.chunk set enqueued_rows = enqueued_rows + 1, filtered_rows = 1 where chunk_no = 0"
    )
    with pytest.raises(RowledgerError, match="changed by hand"):
        replay(database, REPLACED)
    (verification,) = run_verify(REPLACED, url=database)
    assert "changed by hand" in verification.checks[0].summary


def test_a_replaced_partition_needs_no_entry_of_the_load_before_it(database: str, tmp_path: Path) -> None:
    write_sales(tmp_path, DAY, sales(range(30)))
    assert load_one(database, REPLACED, tmp_path, DAY).error is None
    fetch(database, "update rowledger.load set enqueued_rows = 7")
    assert load_one(database, REPLACED, tmp_path, DAY).error is None
    assert all(result.passed for result in run_verify(REPLACED, url=database))


def test_forgetting_ends_the_alarm(database: str, tmp_path: Path) -> None:
    write_sales(tmp_path, DAY, sales(range(30)))
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    fetch(database, "update rowledger.load set state = 'replaced'")
    run_forget(APPENDED, url=database)
    fetch(database, "truncate public.appended")
    assert load_one(database, APPENDED, tmp_path, DAY).error is None
    assert fetch_value(database, "select count(*) from public.appended") == 30


def test_a_history_by_the_rules_is_as_it_was_written(database: str, tmp_path: Path) -> None:
    for spec in (APPENDED, UPSERTED, REPLACED):
        for rows in (sales(range(30)), sales(range(30)), [*sales(range(40, 60)), *sales(range(40, 41))]):
            write_sales(tmp_path, DAY, rows)
            assert load_one(database, spec, tmp_path, DAY).error is None
    fetch(database, "delete from public.replaced where sale_id = 40")
    replay(database, REPLACED)
    assert edited_loads(database) == []
