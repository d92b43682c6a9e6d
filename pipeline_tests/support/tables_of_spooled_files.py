"""Tables whose files are spooled: as they trickle in, or as if their rows could not be counted; some drift."""

import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline_tests.support.tables import EVENTS, ORDERS, PARCELS, READINGS, TOLERANT, Event, Parcel
from rowledger.errors import SourceError
from rowledger.sources.parquet import ParquetFiles
from rowledger.sources.spooled_source import SpooledSource
from rowledger.spec.manifest import ChunkDescriptor
from rowledger.spec.partition import Partition
from rowledger.spec.source import SourceContext
from rowledger.spec.table import Drift, TableSpec


class TrickledFiles(SpooledSource):
    """What a folder's files hold, spooled file by file: `N.parquet` has rows, `N.wait` lasts until it is
    deleted, `N.fail` fails.
    """

    path: str

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        spool = self.new_spool(scope)
        folder = Path(self.path.format(landing=scope.landing_dir, partition_key=partition.key))
        for file in sorted(folder.iterdir()):
            match file.suffix:
                case ".parquet":
                    yield from spool.write([pl.read_parquet(file)], origin=file.name)
                case ".fail":
                    raise SourceError(f"{file.name}: as it was asked to")
                case ".wait":
                    while file.exists():
                        time.sleep(0.01)


class SpooledFiles(SpooledSource):
    """Parquet files that are spooled a few hundred rows at a time, as if they could not be counted beforehand."""

    path: str

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        file = Path(self.path.format(landing=scope.landing_dir, partition_key=partition.key))
        yield from self.new_spool(scope).write(pl.read_parquet(file).iter_slices(500), origin=file.name)


def _spooled(spec: TableSpec) -> TableSpec:
    source = SpooledFiles(path=f"{{landing}}/{spec.name}/{{partition_key}}.parquet")
    return spec.model_copy(update={"source": source})


SPOOLED_EVENTS, SPOOLED_READINGS = _spooled(EVENTS), _spooled(READINGS)
SPOOLED_ORDERS, SPOOLED_PARCELS = _spooled(ORDERS), _spooled(PARCELS)


TRICKLE = TableSpec(
    name="trickle",
    row=Event,
    source=TrickledFiles(path="{landing}/trickle/{partition_key}"),
    partition_by="at",
    key=("at", "event_id"),
    dead_letters=TOLERANT,
)


DRIFTING = {
    drift: TableSpec(
        name=f"drifting_{drift}",
        row=Parcel,
        source=TrickledFiles(path="{landing}/trickle/{partition_key}"),
        partition_by="day",
        dead_letters=TOLERANT,
        drift=drift,
    )
    for drift in Drift
}
DRIFTING_FREEZE, DRIFTING_EVOLVE, DRIFTING_DISCARD_VALUE, DRIFTING_DISCARD_ROW = DRIFTING.values()


PLANNED_DRIFT = {
    drift: TableSpec(
        name=f"planned_drift_{drift}",
        row=Parcel,
        source=ParquetFiles(path="{landing}/trickle/{partition_key}/*.parquet"),
        partition_by="day",
        dead_letters=TOLERANT,
        drift=drift,
    )
    for drift in Drift
}
PLANNED_FREEZE, PLANNED_EVOLVE, PLANNED_DISCARD_VALUE, PLANNED_DISCARD_ROW = PLANNED_DRIFT.values()
