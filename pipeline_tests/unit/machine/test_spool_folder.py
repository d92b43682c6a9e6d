"""A run's spool folder is its own from the first moment, and what dead runs left goes; runs may begin at the same time."""

import stat
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rowledger.errors import NotEnoughSpace
from rowledger.machine import spool_folder


def test_nothing_is_left_of_a_folder_but_while_it_is_needed(tmp_path: Path) -> None:
    with spool_folder(tmp_path / "spool", "mine") as folder:
        (folder / "rows").write_text("x")
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in folder.parent.iterdir()}

    assert modes == {"mine": 0o700, "mine.lock": 0o600}
    assert list((tmp_path / "spool").iterdir()) == []


def test_an_abandoned_folder_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "dead" / "part").mkdir(parents=True)
    (tmp_path / "dead.lock").touch()
    with spool_folder(tmp_path, "living") as living, spool_folder(tmp_path, "next"):
        assert living.exists()
        assert not (tmp_path / "dead").exists()
        assert not (tmp_path / "dead.lock").exists()


def test_a_folder_is_swept_by_nobody_between_its_lock_and_its_first_row(tmp_path: Path) -> None:
    def begin(_number: int) -> bool:
        with spool_folder(tmp_path, uuid.uuid4().hex) as folder:
            (folder / "part").mkdir()
            return stat.S_IMODE(folder.stat().st_mode) == 0o700

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(begin, range(400)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()

    with (
        pytest.raises(NotEnoughSpace, match="taken: File exists; a run keeps spooled rows there"),
        spool_folder(tmp_path, "taken"),
    ):
        pass
