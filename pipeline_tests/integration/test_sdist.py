"""The source archive: it has what is needed to test Rowledger and to package it anew."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parents[2]


def _built(checkout: Path, kind: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True, timeout=120)
    (built,) = folder.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the archive unpacks into, outside of any git checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(_built(_CHECKOUT, "sdist", folder)) as archive:
        archive.extractall(folder, filter="data")
    (found,) = [path for path in folder.iterdir() if path.is_dir()]
    return found


def _content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_from_the_archive_is_the_wheel_from_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    of_archive = _built(unpacked, "wheel", tmp_path / "archive")
    of_checkout = _built(_CHECKOUT, "wheel", tmp_path / "checkout")
    assert of_archive.name == of_checkout.name
    assert _content(of_archive) == _content(of_checkout)


def test_the_archive_has_the_files_that_git_keeps_but_those_of_ci(unpacked: Path) -> None:
    if not (_CHECKOUT / ".git").exists():
        pytest.skip("only a checkout can tell")
    listed = subprocess.run(["git", "ls-files"], cwd=_CHECKOUT, check=True, capture_output=True, text=True)
    kept = {name for name in listed.stdout.splitlines() if not name.startswith(".ci/")}
    packed = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert kept - packed == set()


def test_the_tests_in_the_archive_run_on_the_code_in_the_archive(unpacked: Path) -> None:
    code = "import rowledger; print(rowledger.__file__)"
    command = [sys.executable, "-c", code]
    imported = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, timeout=60, check=True)
    assert Path(imported.stdout.strip()).is_relative_to(unpacked)
    tests = [
        "pipeline_tests/unit/test_documentation.py::test_each_file_that_is_named_is_there",
        "pipeline_tests/unit/spec",
        "pipeline_tests/unit/test_errors.py",
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
    planned = subprocess.run(
        ["make", "-n", "test"], cwd=unpacked, capture_output=True, text=True, timeout=60, check=True
    )
    assert "--constraint requirements.lock --editable '.[dev]'" in planned.stdout
