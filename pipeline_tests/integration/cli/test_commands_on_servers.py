"""The command line with a table on several servers: over all of them, or on one that is chosen."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load, load_one
from pipeline_tests.support.tables import READINGS, readings, write_source
from pipeline_tests.support.tables_on_servers import EU, SALES, US, moved, sales, set_servers, write_sales

Run = Callable[..., Result]

SPEC = "pipeline_tests.support.tables_on_servers:SALES"
MODULE = "pipeline_tests.support.tables_on_servers"


@pytest.fixture(autouse=True)
def _two_servers(monkeypatch: pytest.MonkeyPatch, database: str, empty_database: str) -> None:
    set_servers(monkeypatch, eu=database, us=empty_database)


@pytest.fixture
def loaded(tmp_path: Path) -> None:
    """The table with two regions on the server that commands ask first, and one on another."""
    for key in ("eu", "uk", "us"):
        write_sales(tmp_path, key, sales(key, 30))
    assert all(report.published for report in load(None, SALES, tmp_path, ["eu", "uk", "us"]))


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> str:
    """Put the second server out of reach; returns how it is told."""
    monkeypatch.setenv(US, f"postgresql://someone:hidden@127.0.0.1:{unused_port}/away")
    return f"{US} (127.0.0.1:{unused_port}/away)"


def _partitions(result: Result) -> dict[str, str]:
    """Which server each partition of a JSON answer is on."""
    return {found["partition_key"]: found["server"] for found in json.loads(result.output)["partitions"]}


@pytest.mark.usefixtures("loaded")
def test_status_shows_a_table_server_by_server_and_others_as_ever(run: Run, database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "readings", "all", readings(20))
    assert load_one(database, READINGS, tmp_path, "all").published
    shown = run("status")
    assert shown.exit_code == 0
    first, eu, us = (shown.output.index(text) for text in ("table readings", f"server {EU} (", f"server {US} ("))
    assert first < eu < us
    assert shown.output.count("uk ") == 1
    assert _partitions(run("status", "--json")) == {"all": None, "eu": EU, "uk": EU, "us": US}
    assert _partitions(run("status", "--json", "--table", "sales", "--partition", "us")) == {"us": US}
    assert run("status", "--table", "sales", "--partition", "mars").exit_code == 1
    of_another = run("verify", "--partition", "all")
    assert (of_another.exit_code, of_another.output) == (
        0,
        "table readings: 1 published partition is what was loaded\n",
    )


@pytest.mark.usefixtures("loaded")
def test_status_of_one_server_is_chosen_by_its_variable(run: Run) -> None:
    assert _partitions(run("status", "--json", "--server", US)) == {"us": US}
    unset = run("status", "--server", "MARS_DATABASE_URL")
    assert (unset.exit_code, "MARS_DATABASE_URL is not set here" in unset.output) == (1, True)


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_server_that_cannot_be_reached_is_told_beside_the_others(command: str, run: Run, away: str) -> None:
    found = run(command, "--table", "sales")
    assert found.exit_code == 1
    assert f"table sales: server {away} " in found.output
    assert "hidden" not in found.output
    assert "uk" in found.output or "2 published partitions are what was loaded" in found.output
    assert json.loads(run(command, "--table", "sales", "--json").stdout)["problems"][0].startswith(
        f"table sales: server {away} "
    )


@pytest.mark.usefixtures("loaded")
def test_verify_compares_each_server_with_its_own_ledger(run: Run, empty_database: str) -> None:
    well = run("verify")
    assert well.exit_code == 0
    assert f"on {EU} (" in well.output
    assert "2 published partitions are what was loaded" in well.output
    assert "1 published partition is what was loaded" in well.output
    assert run("verify", "--table", "sales", "--partition", "us").exit_code == 0
    fetch(empty_database, "delete from public.sales where sale_id = 3")
    bad = run("verify")
    assert bad.exit_code == 1
    assert f"sales us on {US}: every_row_accounted_for: 29 rows in the table, 30 were written" in bad.output
    assert f"rowledger forget --table sales --server {US} --partition us" in bad.output
    assert run("verify", "--server", EU).exit_code == 0
    nowhere = run("verify", "--table", "sales", "--partition", "mars")
    assert (nowhere.exit_code, "servers names no variable for it" in nowhere.output) == (1, True)


def test_a_partition_that_is_not_loaded_is_missing_on_its_server(run: Run, tmp_path: Path) -> None:
    write_sales(tmp_path, "eu", sales("eu", 5))
    assert load_one(None, SALES, tmp_path, "eu").published
    missing = run("verify", "--table", "sales", "--partition", "us")
    assert missing.exit_code == 1
    assert f"sales us on {US}: the ledger has no published load of this partition" in missing.output


@pytest.mark.usefixtures("loaded")
def test_a_partition_that_has_moved_is_told_until_its_old_server_forgets_it(
    run: Run, database: str, empty_database: str, tmp_path: Path
) -> None:
    assert load_one(None, moved(eu=EU, uk=US, us=US), tmp_path, "uk").published
    _keep_spec_of(empty_database, database)
    told = f"{EU} ({database.rpartition('@')[2]}) has rows of it, and the spec places it on {US} ("
    status = run("status", "--table", "sales", "--exit-code")
    assert status.exit_code == 1
    assert f"sales uk: {told}" in status.output
    assert run("status", "--table", "sales", "--failed", "--json").output.count('"misplaced": "EU_') == 1
    verified = run("verify", "--table", "sales")
    assert verified.exit_code == 1
    assert f"sales uk on {EU}: {told}" in verified.output
    fetch(database, "delete from public.sales where region = 'uk'")
    assert run("forget", "--table", "sales", "--server", EU, "--partition", "uk", "--yes").exit_code == 0
    assert run("verify", "--table", "sales").exit_code == 0
    assert _partitions(run("status", "--table", "sales", "--json")) == {"eu": EU, "uk": US, "us": US}
    assert run("status", "--table", "sales", "--exit-code").exit_code == 0
    assert_accounted(database, SALES, sales("eu", 30))


def _keep_spec_of(newer: str, older: str) -> None:
    """As a load on the older server does, which keeps the spec that it was loaded with."""
    spec = fetch_value(newer, "select spec::text from rowledger.table_spec")
    fetch(older, "update rowledger.table_spec set spec = $1::json", spec)


@pytest.mark.usefixtures("loaded")
def test_two_addresses_of_one_database_are_one_server(
    run: Run, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_servers(monkeypatch, eu=database, us=database.replace("127.0.0.1", "localhost"))
    assert load_one(None, SALES, tmp_path, "us").published
    assert _partitions(run("status", "--table", "sales", "--json")) == {"eu": EU, "uk": EU, "us": EU}
    assert run("verify", "--table", "sales").exit_code == 0


def test_a_table_whose_servers_are_all_elsewhere_is_found_by_its_module(
    run: Run, database: str, other_database: str, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_servers(monkeypatch, eu=other_database, us=empty_database)
    write_sales(tmp_path, "eu", sales("eu", 5))
    assert load_one(None, SALES, tmp_path, "eu").published
    assert run("status", "--table", "sales").exit_code == 1
    assert _partitions(run("status", "--table", "sales", "--spec", SPEC, "--json")) == {"eu": EU}
    assert run("verify", "--table", "sales", "--spec", SPEC).exit_code == 0
    assert fetch_value(database, "select count(*) from rowledger.load") == 0


@pytest.fixture
def refused(tmp_path: Path) -> None:
    """A dead letter of the table on each server, of a negative id."""
    for key in ("eu", "us"):
        write_sales(tmp_path, key, [*sales(key, 30), {"region": key, "sale_id": -1, "item": "refund"}])
    assert all(report.dead_lettered_rows == 1 for report in load(None, SALES, tmp_path, ["eu", "us"]))


@pytest.mark.usefixtures("refused")
def test_dead_letters_are_those_of_the_server_that_a_partition_or_a_variable_names(
    run: Run, empty_database: str, tmp_path: Path
) -> None:
    ambiguous = run("dead-letters", "list", "--table", "sales")
    assert ambiguous.exit_code == 2
    assert f"give --server {EU}, --server {US}, or partitions of one" in ambiguous.output
    listed = run("dead-letters", "list", "--table", "sales", "--partition", "us", "--json")
    assert [letter["partition_key"] for letter in json.loads(listed.output)] == ["us"]
    export = tmp_path / "letters"
    chosen = ("--table", "sales", "--server", US)
    assert run("dead-letters", "export", *chosen, "--output", export).exit_code == 0
    export.write_text(export.read_text(encoding="utf-8").replace('"sale_id": -1', '"sale_id": 99'), encoding="utf-8")
    assert run("dead-letters", "import", *chosen, export).exit_code == 0
    replayed = run("dead-letters", "replay", *chosen)
    assert replayed.exit_code == 0
    assert fetch_value(empty_database, "select count(*) from public.sales") == 31
    left = run("dead-letters", "list", "--table", "sales", "--server", EU, "--json")
    assert [letter["state"] for letter in json.loads(left.output)] == ["open"]
    discard = ("dead-letters", "discard", "--table", "sales", "--partition", "eu", "--note", "a refund", "--yes")
    assert run(*discard).exit_code == 0
    assert run("verify", "--table", "sales").exit_code == 0


@pytest.mark.usefixtures("loaded")
def test_incidents_forget_and_prune_work_on_the_chosen_server(run: Run, empty_database: str) -> None:
    assert run("incidents", "--table", "sales").exit_code == 2
    assert run("incidents", "--table", "sales", "--server", US).exit_code == 0
    assert run("forget", "--table", "sales", "--yes").exit_code == 2
    assert run("forget", "--table", "sales", "--partition", "us", "--yes").exit_code == 0
    assert fetch_value(empty_database, "select count(*) from rowledger.load where state = 'published'") == 0
    assert run("prune", "--table", "sales", "--older-than", "1d", "--dry-run").exit_code == 2
    assert run("prune", "--table", "sales", "--older-than", "1d", "--dry-run", "--server", EU).exit_code == 0


def test_load_names_the_server_of_each_partition(run: Run, empty_database: str, tmp_path: Path, away: str) -> None:
    for key in ("eu", "us"):
        write_sales(tmp_path, key, sales(key, 12))
    options = ("--partition", "eu", "--partition", "us", "--landing-dir", tmp_path, "--set", "workers=1")
    one_away = run("load", SPEC, *options)
    assert one_away.exit_code == 1
    assert f"partition us: server {away}: " in one_away.output
    assert "hidden" not in one_away.output
    with pytest.MonkeyPatch.context() as back:
        back.setenv(US, empty_database)
        by_name = run("load", "sales", *options, "--json")
        assert by_name.exit_code == 0
        found = json.loads(by_name.stdout)["partitions"]
        assert {part["partition_key"]: part["server"] for part in found} == {"eu": EU, "us": US}


def test_check_looks_at_the_target_on_each_server(run: Run, empty_database: str) -> None:
    well = run("check", MODULE, "--table", "sales", "--target", "--partition", "us")
    assert well.exit_code == 0
    assert f"server {US} (" in well.output
    assert f"server {EU} (" not in well.output
    fetch(empty_database, "create table public.sales (region text not null, sale_id text, item text)")
    bad = run("check", MODULE, "--table", "sales", "--target")
    assert bad.exit_code == 1
    assert "sale_id" in bad.output.partition(f"server {US} (")[2]


def test_migrate_makes_the_ledger_of_the_chosen_server(run: Run, empty_database: str) -> None:
    assert "was missing" in run("db", "migrate", "--server", US).output
    assert fetch_value(empty_database, "select count(*) from rowledger.load") == 0


@pytest.fixture
def run(rowledger: Run) -> Run:
    """`rowledger …` on this test's database, which is the first server."""
    return rowledger
