"""How others load the rows of one Parquet file: `peer_loads NAME FILE SCRATCH`, the server's URL in DATABASE_URL.

Each is what its documentation shows, with small files or slices, so that there is much to interrupt. A run of the same
command again is how its operator goes on.
"""

import asyncio
import os
import sys
from pathlib import Path

SLICE_ROWS = 500
TABLE = "events"
KEY = ("at", "event_id")


def load_with_dlt(file: Path, scratch: Path, disposition: str) -> None:
    """dlt: Arrow tables, CSV that goes into COPY, a file for each slice; what a killed run has left is loaded first."""
    import dlt  # noqa: PLC0415 - each contestant imports its own library
    import pyarrow.parquet as pq  # noqa: PLC0415

    dlt.config["data_writer.file_max_items"] = SLICE_ROWS
    dlt.config["data_writer.buffer_max_items"] = SLICE_ROWS
    dlt.config["runtime.dlthub_telemetry"] = False
    dlt.config["load.workers"] = 2
    pipeline = dlt.pipeline(
        "peer",
        pipelines_dir=str(scratch),
        destination=dlt.destinations.postgres(os.environ["DATABASE_URL"]),
        dataset_name="public",
    )
    with pq.ParquetFile(file) as parquet:
        groups = (parquet.read_row_group(number) for number in range(parquet.num_row_groups))
        rows = dlt.resource(groups, name=TABLE, write_disposition=disposition, primary_key=KEY)
        pipeline.run(rows, loader_file_format="csv").raise_on_failed_jobs()


def load_with_ray(file: Path, scratch: Path, *, retried: bool) -> None:
    """Plain Ray tasks: each copies a slice of the file in one transaction.

    By default Ray runs a task again, up to three times, when its process died; `retried` also after an exception.
    """
    import asyncpg  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415
    import ray  # noqa: PLC0415

    async def copy(first: int) -> int:
        rows = pl.read_parquet(file).slice(first, SLICE_ROWS)
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        async with connection.transaction():
            await connection.copy_records_to_table(TABLE, records=rows.rows(), columns=rows.columns)
        await connection.close()
        return rows.height

    @ray.remote(retry_exceptions=retried)
    def copy_slice(first: int) -> int:
        return asyncio.run(copy(first))

    count = pl.scan_parquet(file).select(pl.len()).collect().item()
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=str(scratch), _node_ip_address="127.0.0.1"
    )
    copied = sum(ray.get([copy_slice.remote(first) for first in range(0, count, SLICE_ROWS)]))
    if copied != count:
        raise SystemExit(f"{copied} of {count} rows were copied")


def main() -> None:
    """Entry point of a contestant's process."""
    name, file, scratch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    match name:
        case "dlt-append":
            load_with_dlt(file, scratch, "append")
        case "dlt-merge":
            load_with_dlt(file, scratch, "merge")
        case "ray-tasks":
            load_with_ray(file, scratch, retried=False)
        case "ray-tasks-retried":
            load_with_ray(file, scratch, retried=True)
        case _:
            raise SystemExit(f"{name} is not known")


if __name__ == "__main__":
    main()
