"""Dagster's definitions while one table's file has a mistake: the others work, and that one says what is wrong."""

import logging

import dagster as dg
import pytest

from pipeline.definitions import definitions_of
from pipeline.tables import BrokenTable, Tables
from pipeline.tables.flights import FLIGHTS
from pipeline_tests.support.tables import EVENTS

MISTAKE = "pipeline/tables/readings.py: line 12: sensr: Extra inputs are not permitted"

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:Parameter `owners`"),
]


def _keys(defs: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}


def _failure(defs: dg.Definitions, job: str) -> str:
    result = defs.resolve_job_def(job).execute_in_process(raise_on_error=False)
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return data.description or ""


def test_the_others_are_defined_and_the_broken_one_fails_with_its_mistake(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="rowledger"):
        defs = definitions_of(Tables({"events": EVENTS}, (BrokenTable("readings", MISTAKE),)))

    assert {"events", "readings"} <= _keys(defs)
    assert MISTAKE in caplog.text
    assert {node.name for node in defs.resolve_job_def("events_load").nodes} == {"events"}
    for job in ("readings_load", "readings_verify", "readings_replay"):
        assert _failure(defs, job).startswith(f"readings cannot be used: {MISTAKE}")


def test_a_landing_asset_whose_table_is_broken_says_so_too() -> None:
    defs = definitions_of(Tables({"events": EVENTS}, (BrokenTable("flights", MISTAKE),)))

    assert _keys(defs) == {"events", "flights", "flights_landing"}


def test_a_name_that_a_usable_table_has_is_not_defined_twice() -> None:
    defs = definitions_of(Tables({"flights": FLIGHTS}, (BrokenTable("flights", MISTAKE), BrokenTable("a-b", MISTAKE))))

    assert _keys(defs) == {"flights", "flights_landing", "a_b"}


def test_a_spec_that_dagster_cannot_define_leaves_the_others_alone() -> None:
    odd = FLIGHTS.model_copy(update={"upstream": ("no/such name!",)})

    defs = definitions_of(Tables({"events": EVENTS, "flights": odd}, ()))

    assert {"events", "flights"} <= _keys(defs)
