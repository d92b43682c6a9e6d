"""`python -m benchmarks.scale` at tiny sizes: what it asks, what it writes down, what it leaves behind."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from benchmarks.scale import shapes
from benchmarks.scale.bench import Bench, Failed, WrongCount
from benchmarks.scale.run import Job
from pipeline.nycflights import land_flights
from pipeline_tests.support.database import fetch_value
from rowledger.settings import child_environment


def _ask(url: str, questions: str, figures: Path) -> str:
    """What it prints."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "--quick", "--only", questions, "--json", str(figures)],
        env=child_environment(ROWLEDGER_DATABASE_URL=url),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_questions_are_answered_with_figures_and_judged_targets_and_no_table_stays(
    database: str, tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"

    printed = _ask(database, "size,resume", file)

    results = json.loads(file.read_text(encoding="utf-8"))
    assert {"machine", "versions", "options", "wall_s", "questions"} == set(results)
    assert list(results["questions"]) == ["size", "resume"]
    for answer in results["questions"].values():
        assert answer["targets"]
        for target in answer["targets"]:
            assert target["met"] == (
                target["value"] <= target["limit"] if target["at_most"] else target["value"] >= target["limit"]
            )
            assert f"{target['figure']}: " in printed
    sizes = results["questions"]["size"]["figures"]["runs"]
    assert [run["rows"] for runs in sizes.values() for run in runs] == [6_005, 11_957]
    assert all(run["supervisor_rss_bytes"] > 0 for runs in sizes.values() for run in runs)
    (share,) = results["questions"]["resume"]["figures"]["committed_share_at_kill"]
    assert 0.5 <= share < 1
    assert fetch_value(database, "select to_regnamespace('rowledger_bench_scale') is null")
    assert fetch_value(database, "select count(*) from rowledger.load") == 0


def test_a_wrong_count_fails_the_benchmark(database: str, tmp_path: Path) -> None:
    day = "2013-01-01"
    landed = land_flights([date.fromisoformat(day)], tmp_path / "flights")[day]
    bench = Bench(url=database, folder=tmp_path, say=lambda _text: None)

    with pytest.raises(WrongCount, match=f"{landed} rows in the table, {landed} reported, {landed + 1} in the source"):
        bench.measure(Job(spec="DAYS", keys=(day,), landing=tmp_path), landed + 1)


@pytest.mark.parametrize("question", ["small", "wide", "partitions", "files", "long"])
def test_loads_of_extreme_shapes_are_measured_and_judged(database: str, tmp_path: Path, question: str) -> None:
    file = tmp_path / "figures.json"

    printed = _ask(database, question, file)

    (answer,) = json.loads(file.read_text(encoding="utf-8"))["questions"].values()
    assert answer["targets"]
    assert not answer["notes"]  # no load has failed
    assert all(f"{target['figure']}: " in printed for target in answer["targets"])


def test_ledger_and_wal_are_measured_by_the_row(database: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"

    _ask(database, "ledger,wal", file)

    ledger, wal = json.loads(file.read_text(encoding="utf-8"))["questions"].values()
    chunk, letter = ledger["figures"]["a chunk"], ledger["figures"]["a dead letter"]
    assert 500 < chunk["row"] < chunk["disk"]
    assert letter["count"] == pytest.approx(30_201 / 50, rel=0.2)
    assert 200 < letter["row"] < letter["disk"]
    steps = {step["what"]: step for step in wal["figures"]["steps"]}
    load, keyed = steps["load"], steps["load with a key of two columns"]
    assert 80 < load["wal_bytes"] < keyed["wal_bytes"] < 400
    assert steps["freeze after a checkpoint"]["wal_bytes"] > 10 * steps["freeze, no checkpoint since"]["wal_bytes"]


def test_a_load_that_fails_or_does_not_end_is_an_answer(database: str, tmp_path: Path) -> None:
    bench = Bench(url=database, folder=tmp_path, say=lambda _text: None)
    job = Job(spec="FILES", landing=shapes.write_readings(tmp_path / "files", range(2), 10, ".parquet"))
    without_files = Job(spec="FILES", landing=tmp_path)

    assert str(bench.attempt(without_files, 0, deadline_s=60)).startswith(
        "FAILED: error: a load ended with exit code 1"
    )
    assert bench.attempt(job, 20, deadline_s=0) == Failed("not ended after 0 s, and killed")
