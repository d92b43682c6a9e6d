"""A local object store of Amazon's kind, and small files for it."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipeline_tests.support.waiting import wait_until

__all__ = ["SECRET", "TABLE", "object_store", "parquet", "put", "variables"]

SECRET = "a-secret-of-the-store"
TABLE = pa.table({"sensor": [1, 2], "value": [0.5, None]})


@contextlib.contextmanager
def object_store(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """The address of an object store, which lasts as long as the block; it notes in `output` what it is asked for."""
    output, started = folder / "output", re.compile(rf"Running on (http://{re.escape(host)}:\d+)")
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", "0"]
    with output.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as server:
        try:
            yield wait_until(lambda: started.search(output.read_text()), "the object store is up", timeout_s=60)[1]
        finally:
            server.kill()


def variables(endpoint: str) -> dict[str, str]:
    """The usual variables for this store."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def put(store: fs.S3FileSystem, name: str, content: bytes) -> None:
    with store.open_output_stream(f"shop/{name}") as stream:
        stream.write(content)


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink)
    return sink.getvalue().to_pybytes()
