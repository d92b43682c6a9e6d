"""Tables whose sources misbehave in the worker that reads them: they leak descriptors, they leave a child behind."""

import os
import time
from pathlib import Path

import polars as pl

from pipeline_tests.support.tables import EVENTS, TOLERANT, Event, Reading
from rowledger.sources.parquet import ParquetFiles
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.table import TableSpec
from rowledger.spec.transform import FrameTransform


class LeakyFiles(ParquetFiles):
    """Parquet files whose reader leaves descriptors open, as a library with a leak does."""

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        _leaked.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(40))
        return super().read(descriptor)


_leaked: list[int] = []


LEAKY_READINGS = TableSpec(
    name="leaky_readings",
    row=Reading,
    source=LeakyFiles(path="{landing}/readings/{partition_key}.parquet"),
)


def leave_descriptors_open(frame: pl.DataFrame) -> pl.DataFrame:
    _leaked.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(40))
    return frame


LEAKY_EVENTS = TableSpec(
    name="leaky_events",
    row=Event,
    source=EVENTS.source,
    partition_by="at",
    key=EVENTS.key,
    transform=FrameTransform(function=leave_descriptors_open),
    dead_letters=TOLERANT,
)
"""Events whose transform leaves descriptors open, in loads as in replays."""


class ForkingFiles(ParquetFiles):
    """Parquet files whose first reader leaves a child behind, which holds all that the worker has open; its pid is kept."""

    def read(self, descriptor: ChunkDescriptor) -> pl.DataFrame:
        frame = super().read(descriptor)
        kept = Path(f"{descriptor.origin}.child")
        if not kept.exists():
            child = os.fork()
            if child == 0:
                time.sleep(120)
                os._exit(0)
            kept.write_text(str(child))
        return frame


FORKING_READINGS = TableSpec(
    name="forking_readings",
    row=Reading,
    source=ForkingFiles(path="{landing}/readings/{partition_key}.parquet"),
)
