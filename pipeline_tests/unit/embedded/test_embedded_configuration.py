"""The embedded server takes its sizes from what the machine has left, within bounds."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from rowledger.embedded import configuration as embedded_configuration
from rowledger.embedded.configuration import configuration

GIB = 2**30


def sizes(text: str) -> dict[str, str]:
    """The settings whose values have a unit of memory, by name."""
    settings = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return {name: value for name, value in settings.items() if value.endswith("MB")}


@pytest.mark.parametrize(
    ("memory", "disk", "buffers", "maintenance", "wal"),
    [
        (16 * GIB, 40 * GIB, "4096MB", "256MB", "10240MB"),
        (2 * GIB, 40 * GIB, "512MB", "64MB", "10240MB"),
        (1 * GIB, 40 * GIB, "256MB", "64MB", "10240MB"),
        (256 * GIB, 4_000 * GIB, "8192MB", "512MB", "24576MB"),
        (0, 0, "128MB", "64MB", "1024MB"),
    ],
)
def test_sizes_follow_the_memory_and_the_disk_that_are_left(
    monkeypatch: pytest.MonkeyPatch,
    memory: int,
    disk: int,
    buffers: str,
    maintenance: str,
    wal: str,
) -> None:
    monkeypatch.setattr(embedded_configuration, "available_memory_bytes", lambda: memory)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk))

    found = sizes(configuration("127.0.0.1", 5432, data_dir=Path("unused")))

    assert found == {"shared_buffers": buffers, "maintenance_work_mem": maintenance, "max_wal_size": wal}
