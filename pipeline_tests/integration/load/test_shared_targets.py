"""A target belongs to one table spec: a second one that names it is refused before it could replace the first one's rows."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline_tests.support import run_process
from pipeline_tests.support.assertions import assert_accounted
from pipeline_tests.support.database import fetch, fetch_value
from pipeline_tests.support.loading import load_one
from pipeline_tests.support.replaying import assert_verified
from pipeline_tests.support.tables import DAY, EVENTS, NEXT_DAY, THIRD_DAY, events, write_source
from pipeline_tests.support.waiting import is_stopped, wait_until
from rowledger.errors import SpecError
from rowledger.load import check_target
from rowledger.publish import run_forget
from rowledger.spec import QualifiedName, TableSpec

OTHERS = EVENTS.model_copy(update={"name": "others"})
MOVED = EVENTS.model_copy(update={"name": "moved", "target": QualifiedName(schema_name="lake", table="moved")})
REFUSED = "table others: its target public.events has rows that table events has loaded"


@pytest.fixture
def slow_run(database: str, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a load of the other table that stands still after its look at the target."""
    with contextlib.ExitStack() as stack:

        def start() -> subprocess.Popen[str]:
            process = run_process.start(database, OTHERS, tmp_path, [DAY], failpoints="in_planning=sigstop")
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.mark.parametrize("key", [DAY, NEXT_DAY], ids=["the same partition", "another partition"])
def test_a_second_table_spec_cannot_load_into_the_target_of_the_first(database: str, tmp_path: Path, key: str) -> None:
    write_source(tmp_path, "events", DAY, rows := events(20))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    write_source(tmp_path, "events", key, events(30, key))

    with pytest.raises(SpecError, match=REFUSED) as refused:
        load_one(database, OTHERS, tmp_path, key)

    assert "Give one of them another target" in str(refused.value)
    assert str(refused.value).endswith("rowledger forget --table events")
    assert fetch(database, "select table_name from rowledger.table_spec") == [("events",)]
    assert_verified(database, EVENTS)
    assert_accounted(database, EVENTS, rows)


def test_a_check_of_the_target_says_so_too(database: str, tmp_path: Path) -> None:
    write_source(tmp_path, "events", DAY, events(20))
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    (problem,) = asyncio.run(check_target(OTHERS, [], url=database)).problems
    assert problem.startswith(REFUSED)


def test_a_table_that_was_renamed_loads_once_its_former_name_answers_for_no_rows(database: str, tmp_path: Path) -> None:
    for key in (DAY, NEXT_DAY, THIRD_DAY):
        write_source(tmp_path, "events", key, events(20, key))
        assert load_one(database, EVENTS, tmp_path, key).error is None
    assert len(run_forget(EVENTS, url=database)) == 3
    for key in (DAY, NEXT_DAY, THIRD_DAY):
        assert load_one(database, OTHERS, tmp_path, key).error is None
    assert_verified(database, OTHERS)
    assert fetch_value(database, "select count(*) from public.events") == 60


def test_of_two_that_begin_together_only_one_is_published(
    database: str, tmp_path: Path, slow_run: Callable[[], subprocess.Popen[str]]
) -> None:
    write_source(tmp_path, "events", DAY, rows := events(20))
    slow = slow_run()
    wait_until(lambda: is_stopped(slow.pid), "the run stands still", timeout_s=60)
    assert load_one(database, EVENTS, tmp_path, DAY).error is None
    os.kill(slow.pid, signal.SIGCONT)
    output, _ = slow.communicate(timeout=120)
    assert (slow.returncode, REFUSED in output) == (1, True), output
    assert fetch_value(database, "select count(*) from public.events") == len(rows)
    assert_verified(database, EVENTS)


def test_a_second_asset_of_a_table_is_refused_unless_the_first_one_is_gone_or_has_another_table(
    database: str, tmp_path: Path
) -> None:
    def load(spec: TableSpec, asset: str, rival: str) -> None:
        write_source(tmp_path, "events", DAY, events(20))
        remedy = {(rival,): "Decide."}.get
        assert load_one(database, spec, tmp_path, DAY, asset_key=(asset,), rival_remedy=remedy).error is None

    load(EVENTS, "hourly", rival="none")
    with pytest.raises(SpecError) as refused:
        load(EVENTS, "daily", rival="hourly")
    assert str(refused.value) == (
        "table events: it is also the table of asset hourly, which has loaded public.events; each would replace the other's "
        "rows, so asset daily has loaded no row. Decide."
    )
    load(EVENTS, "renamed", rival="hourly_is_gone")
    load(MOVED, "renamed", rival="none")
    load(EVENTS, "daily", rival="renamed")
