"""No value becomes SQL: partition keys, names and labels of any text are what they are, and nothing else."""

from pathlib import Path

import pytest

from pipeline_tests.integration.postgres.test_session_settings import execute, hostile_settings
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.tables_of_write_modes import ANY_KEY, sales, write_sales
from rowledger.errors import TargetMismatch
from rowledger.postgres.queries import quote_literal
from rowledger.publish.verify import run_verify

INJECTION = r"\')); delete from public.any_key where region = $$other$$; --"
KEYS = [INJECTION, "it's \\", "$$ $1 %s %(a)s {} {0}", '"Ünïcödé" 漢字 🙂', "k" * 1_000]
PLAIN = "create table public.any_key (day date, region text, sale_id integer, amount double precision)"


@pytest.mark.parametrize("settings", ["ours", "hostile"])
def test_a_literal_means_the_text_under_every_setting(database: str, settings: str) -> None:
    strings = "off" if settings == "hostile" else "on"
    for text in [*KEYS, "\n\t\r", "\x01"]:
        assert fetch_value(database, "select set_config('standard_conforming_strings', $1, false)", strings) == strings
        execute(
            database,
            f"set standard_conforming_strings = {strings}; create table literal as select {quote_literal(text)} as it",
        )
        assert fetch_value(database, "select it from literal") == text
        execute(database, "drop table literal")


@pytest.mark.parametrize("table", ["divided", "plain"])
def test_a_partition_key_of_any_text_has_its_rows_and_no_others(database: str, tmp_path: Path, table: str) -> None:
    if table == "plain":
        execute(database, PLAIN)
    with hostile_settings(database):
        for key in ("other", *KEYS):
            for count in (20, 30):  # the second replaces the first
                write_sales(tmp_path, "one", sales(range(count), region=key))
                assert load_one(database, ANY_KEY, tmp_path, key).error is None
        verifications = run_verify(ANY_KEY, url=database)
    found = fetch(database, "select region, count(*) as rows from any_key group by region")
    assert {row["region"]: row["rows"] for row in found} == dict.fromkeys(("other", *KEYS), 30)
    assert len(verifications) == len(KEYS) + 1
    assert all(verification.passed for verification in verifications)
    partitions = fetch(database, "select 1 from pg_inherits where inhparent = 'any_key'::regclass")
    assert len(partitions) == (len(KEYS) + 1 if table == "divided" else 0)


def test_a_key_that_its_column_would_cut_short_is_refused_and_takes_no_other_s_rows(
    database: str, tmp_path: Path
) -> None:
    execute(
        database, "create table public.any_key (day date, region varchar(5), sale_id integer, amount double precision)"
    )
    write_sales(tmp_path, "one", sales(range(20), region="north"))
    assert load_one(database, ANY_KEY, tmp_path, "north").error is None
    error = load_one(database, ANY_KEY, tmp_path, "northern").error
    assert isinstance(error, TargetMismatch)
    assert "its column region is character varying(5) and cannot hold the partition key 'northern'" in str(error)
    assert fetch_value(database, "select count(*) from any_key") == 20
    assert_accounted(database, ANY_KEY, sales(range(20), region="north"))
