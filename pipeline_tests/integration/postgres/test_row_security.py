"""Rows that a policy hides from the loading role: one error before anything is written, whatever the operation."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline_tests.integration.postgres.test_session_settings import execute
from pipeline_tests.support.database import fetch_value
from pipeline_tests.support.loading import load, load_one
from pipeline_tests.support.replaying import replay
from pipeline_tests.support.tables import APPENDED_PARCELS, DAY, NEXT_DAY, PARCELS, changed, parcels, write_source
from rowledger.errors import MissingPrivilege
from rowledger.publish.forget import run_forget
from rowledger.publish.verify import run_verify
from rowledger.spec.table import TableSpec

HIDE = (
    "alter table depot.parcels enable row level security",
    "alter table depot.parcels force row level security",
    "create policy new_ones on depot.parcels using (parcel_id < 100)",
)


@pytest.fixture
def loader(database: str) -> Iterator[str]:
    """The database's URL for a role that is no superuser, with a table of its own."""
    role = f"loader_{uuid.uuid4().hex[:12]}"
    parts = urlsplit(database)
    name = parts.path.removeprefix("/")
    execute(
        database,
        f"create role {role} login password 'x'",
        f"grant all on database {name} to {role}",
        f"alter schema rowledger owner to {role}",
        f"do $$ declare t text; begin for t in select tablename from pg_tables where schemaname = 'rowledger' loop "
        f"execute format('alter table rowledger.%I owner to {role}', t); end loop; end $$",
        f"create schema depot authorization {role}",
        "create table depot.parcels (day date, parcel_id bigint, label text)",
        f"alter table depot.parcels owner to {role}",
    )
    yield parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}").geturl()
    execute(database, f"reassign owned by {role} to current_user", f"drop owned by {role}", f"drop role {role}")


def test_rows_that_a_policy_hides_are_not_replaced_around(database: str, loader: str, tmp_path: Path) -> None:
    execute(database, f"insert into depot.parcels values ('{DAY}', 1000, 'old')", *HIDE)
    write_source(tmp_path, "parcels", DAY, parcels(50))
    with pytest.raises(
        MissingPrivilege, match=r"row security applies to role .* on table \"depot\".\"parcels\": .*bypassrls"
    ):
        load(loader, PARCELS, tmp_path, [DAY])
    assert fetch_value(database, "select count(*) from depot.parcels") == 1
    assert fetch_value(database, "select count(*) from rowledger.load") == 0


def test_no_operation_goes_by_rows_that_may_be_hidden(database: str, loader: str, tmp_path: Path) -> None:
    write_source(tmp_path, "parcels", DAY, parcels(50))
    assert load_one(loader, PARCELS, tmp_path, DAY).error is None
    execute(database, *HIDE)
    for operation in (run_verify, run_forget):
        with pytest.raises(MissingPrivilege, match="row security applies to role"):
            operation(PARCELS, url=loader, partition_keys=[DAY])
    execute(database, "alter table depot.parcels no force row level security")  # now the owner sees all
    assert all(verification.passed for verification in run_verify(PARCELS, url=loader))


def test_a_replay_does_not_go_by_rows_that_may_be_hidden(database: str, loader: str, tmp_path: Path) -> None:
    execute(database, "alter table depot.parcels add check (label <> 'bad') not valid")
    write_source(tmp_path, "parcels", DAY, changed(parcels(50), {7: {"label": "bad"}}))
    assert load_one(loader, PARCELS, tmp_path, DAY).dead_lettered_rows == 1
    execute(database, "alter table depot.parcels drop constraint parcels_label_check", *HIDE)
    with pytest.raises(MissingPrivilege, match="row security applies to role"):
        replay(loader, PARCELS)
    assert fetch_value(database, "select count(*) from depot.parcels") == 49
    assert fetch_value(database, "select state from rowledger.dead_letter") == "open"
    execute(database, "alter table depot.parcels no force row level security")
    assert replay(loader, PARCELS).written_rows == 1


@pytest.mark.parametrize("spec", [PARCELS, APPENDED_PARCELS], ids=["replace", "append"])
def test_policies_of_a_partition_hide_nothing_from_a_load(
    database: str, loader: str, tmp_path: Path, spec: TableSpec
) -> None:
    execute(
        database,
        "drop table depot.parcels",
        "create table depot.parcels (day date, parcel_id bigint, label text) partition by range (day)",
        f"create table depot.of_day partition of depot.parcels for values from ('{DAY}') to ('{NEXT_DAY}')",
        "alter table depot.of_day enable row level security",
        "alter table depot.of_day force row level security",
        "create policy none on depot.of_day using (false)",
        *(f"alter table depot.{name} owner to {urlsplit(loader).username}" for name in ("parcels", "of_day")),
        f"insert into depot.parcels values ('{DAY}', 1000, 'old')",
    )
    for rows in (parcels(50), parcels(60)):
        write_source(tmp_path, "parcels", DAY, rows)
        assert load_one(loader, spec, tmp_path, DAY).error is None
    kept = 60 if spec is PARCELS else 1 + 50 + 60
    assert fetch_value(database, "select count(*) from depot.parcels") == kept
    assert fetch_value(
        database,
        "select bool_and(relrowsecurity and relforcerowsecurity) from pg_inherits join pg_class on oid = inhrelid",
    )
    assert all(verification.passed for verification in run_verify(spec, url=loader))


def test_a_policy_on_the_ledger_is_named(database: str, loader: str, tmp_path: Path) -> None:
    execute(
        database,
        "alter table rowledger.load enable row level security",
        "alter table rowledger.load force row level security",
    )
    write_source(tmp_path, "parcels", DAY, parcels(50))
    with pytest.raises(MissingPrivilege, match=r'on table "rowledger"."load"'):
        load(loader, PARCELS, tmp_path, [DAY])
    with pytest.raises(MissingPrivilege, match=r'on table "rowledger"."load"'):
        run_verify(PARCELS, url=loader)
