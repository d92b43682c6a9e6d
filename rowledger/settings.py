"""All settings: from the environment for the installation, from the launchpad for one run.

Only this module and `installation`, which it imports, read Rowledger's settings from environment variables. Names end
in their unit.
"""

import contextlib
import os
import socket
import sys
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

if TYPE_CHECKING:
    from rowledger.installation import Settings

__all__ = [
    "WriterSettings",
    "child_environment",
    "failpoint_rules",
    "host_name",
    "import_folders",
    "s3_endpoint",
    "secret_from_environment",
    "settings",
]


@cache
def settings() -> "Settings":
    """The settings of this installation."""
    from rowledger.installation import Settings  # noqa: PLC0415, workers never ask for them

    return Settings.from_environment()


def failpoint_rules() -> str:
    """Deliberate faults, for tests and the demo; empty means off."""
    return os.environ.get("ROWLEDGER_FAILPOINTS", "")


def host_name() -> str:
    """What people call this machine: ROWLEDGER_HOST_NAME, or the name that the system has.

    Bytes that are not UTF-8, which the ledger could not keep, are escaped.
    """
    name = os.environ.get("ROWLEDGER_HOST_NAME", "").strip() or socket.gethostname()
    return name.encode(errors="backslashreplace").decode()


def s3_endpoint() -> str | None:
    """The address of an object store other than Amazon's, from the variables that Amazon's own tools read."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def secret_from_environment(variable: str) -> SecretStr | None:
    """The value of a variable that a spec names, such as the URL of a source database."""
    value = os.environ.get(variable)
    return SecretStr(value) if value else None


def import_folders() -> list[str]:
    """The folders of `sys.path` in order, absolute. An empty entry is the current folder, if it still exists."""
    folders = []
    for entry in sys.path:
        with contextlib.suppress(FileNotFoundError):
            folders.append(os.path.abspath(entry))  # noqa: PTH100 - Path.absolute keeps `..`
    return folders


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child process: this process's, with its import path, so that the child finds the same modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(import_folders()), **changes}


class WriterSettings(BaseModel):
    """How a run writes: its pool, its limits, its patience. Defaults suit 2 to 16 cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = Field(
        default=0, ge=0, le=64, description="Worker processes; 0: as many as the cgroup grants CPUs, 2 to 8."
    )
    worker_memory_bytes: int = Field(
        default=300 * 2**20,
        ge=64 * 2**20,
        description="Memory assumed for one worker: as many are started as fit into what the cgroup has left.",
    )
    engine: str = Field(  # Dagster's schemas know no Literal
        default="local",
        pattern="^(local|ray)$",
        description="Where chunks are committed: `local`, on this machine, or `ray`, on the hosts of a Ray cluster.",
    )
    engine_address: str = Field(
        default="",
        description="The engine's address; empty: that of `RAY_ADDRESS`, or the cluster that this machine belongs to.",
    )
    hosts: int = Field(default=0, ge=0, le=99, description="Hosts that a run uses at once; 0: all that the engine has.")
    host_silent_s: float = Field(
        default=10, ge=1, le=300, description="Seconds without a sign of life after which a host, or its head, is lost."
    )
    hosts_lost_max: int = Field(
        default=8, ge=0, le=1_000, description="Hosts that one run may lose before it fails; a host may be lost twice."
    )
    hosts_url_variable: str = Field(
        default="ROWLEDGER_DATABASE_URL",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The environment variable from which each host reads the target's URL.",
    )
    connections_spare_min: int = Field(
        default=3,
        ge=0,
        le=10_000,
        description="Connections of the server that runs leave free for others, and for runs that wait for their share.",
    )
    chunk_rows_max: int = Field(
        default=131_072, ge=1, le=10_000_000, description="Rows a chunk may hold: the unit of work, retry and commit."
    )
    batch_rows: int = Field(default=16_384, ge=1, le=1_000_000, description="Rows encoded at once into binary COPY.")
    partitions_in_flight: int = Field(
        default=4, ge=1, le=64, description="Partitions of one run that are worked on at the same time."
    )
    fingerprint: bool = Field(
        default=True, description="Compare per-column fingerprints of source and table before publishing."
    )
    connect_timeout_s: float = Field(default=10, gt=0, le=300, description="Seconds to open one connection.")
    statement_timeout_s: float = Field(
        default=600, gt=0, le=86_400, description="Seconds one statement may run on the server."
    )
    lock_timeout_s: float = Field(
        default=30, gt=0, le=3_600, description="Seconds a chunk waits for a lock before it is tried again."
    )
    publish_lock_timeout_s: float = Field(
        default=2,
        gt=0,
        le=60,
        description="Seconds one publish attempt may queue for the target's lock, holding up readers.",
    )
    publish_snapshot_wait_s: float = Field(
        default=10,
        ge=0,
        le=3_600,
        description="Seconds a publish waits for readers with an old snapshot, or a lock, before it inserts the rows.",
    )
    publish_by_moving: bool = Field(
        default=True,
        description="Attach or swap the staging table where that is possible; false: always delete and insert.",
    )
    planning_timeout_s: float = Field(
        default=300,
        gt=0,
        le=86_400,
        description="Seconds that planning one partition, or the next chunk of a function, query or text, may take.",
    )
    chunk_deadline_s: float = Field(
        default=600, gt=0, le=86_400, description="Seconds one attempt at a chunk may take before its worker is killed."
    )
    stall_timeout_s: float = Field(
        default=60,
        gt=0,
        le=3_600,
        description="Seconds without progress before a worker counts as stalled and is killed.",
    )
    start_timeout_s: float = Field(
        default=60, gt=0, le=600, description="Seconds a worker may take to come up before it is killed."
    )
    heartbeat_s: float = Field(default=0.5, gt=0, le=30, description="Seconds between two heartbeats of a worker.")
    close_timeout_s: float = Field(
        default=5, gt=0, le=60, description="Seconds a worker gets to end by itself before it is killed."
    )
    retry_initial_s: float = Field(
        default=0.1, gt=0, le=60, description="First wait before a retry; doubles, with jitter."
    )
    retry_max_s: float = Field(default=5, gt=0, le=300, description="Longest wait between two retries.")
    retry_budget_s: float = Field(
        default=60,
        gt=0,
        le=3_600,
        description="Seconds of retrying, outages not counted, after which a conflict is final.",
    )
    outage_budget_s: float = Field(
        default=120,
        gt=0,
        le=86_400,
        description="Seconds the server may be away; all workers pause meanwhile. After that the run fails.",
    )
    chunk_attempts_max: int = Field(
        default=5, ge=1, le=100, description="Workers one chunk may cost before the row that kills them is looked for."
    )
    crash_rows_max: int = Field(
        default=3,
        ge=0,
        le=1_000,
        description="Rows of one chunk that may be set aside because they kill their worker; 0: none is looked for.",
    )
    respawns_max: int = Field(default=20, ge=0, le=10_000, description="Worker deaths one run may see before it fails.")
    rss_soft_limit_bytes: int = Field(
        default=768 * 2**20, ge=64 * 2**20, description="Resident memory at which a worker is replaced after its chunk."
    )
    rss_hard_limit_bytes: int = Field(
        default=1536 * 2**20, ge=64 * 2**20, description="Resident memory at which a worker is killed."
    )
    descriptors_max: int = Field(
        default=256, ge=16, le=65_536, description="Open descriptors at which a worker is replaced after its chunk."
    )
    lease_s: float = Field(
        default=10,
        gt=0,
        le=300,
        description="Seconds a silent run keeps its partitions and its locks before another may take them over.",
    )
    busy_wait_s: float = Field(
        default=30, ge=0, le=3_600, description="Seconds to wait for another run that is loading the same partition."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "WriterSettings":
        if self.rss_soft_limit_bytes > self.rss_hard_limit_bytes:
            raise ValueError(
                f"rss_soft_limit_bytes ({self.rss_soft_limit_bytes}) exceeds rss_hard_limit_bytes ({self.rss_hard_limit_bytes})"
            )
        if self.heartbeat_s * 2 > self.stall_timeout_s:
            raise ValueError(
                f"stall_timeout_s ({self.stall_timeout_s}) must be at least twice heartbeat_s ({self.heartbeat_s})"
            )
        return self
