"""One load as a process of its own, for tests that kill it: `run_process SPEC LANDING KEYS SETTINGS`.

The server's URL comes in ROWLEDGER_DATABASE_URL, unless the spec names servers.
Exit code 0: all published; 1: some not; 3: interrupted by SIGTERM.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.namespaces import Host
from pipeline_tests.support.linked_hosts import HOSTS_FILE, LinkedEngine
from pipeline_tests.support.loading import FAST, Recorder
from pipeline_tests.support.partitions import partitions_of
from rowledger.errors import LoadCancelled
from rowledger.load.run import run_load
from rowledger.postgres.server_url import target_url
from rowledger.settings import WriterSettings, child_environment
from rowledger.spec.table import TableSpec

INTERRUPTED = 3


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class _Printer(Recorder):
    def log(self, level: int, message: str) -> None:
        _say(f"{level} {message}")


def start(
    database: str,
    spec: TableSpec,
    landing: Path,
    keys: Sequence[str],
    *,
    failpoints: str = "",
    prefix: Sequence[str] = (),
    host: Host | None = None,
    hosts_file: Path | None = None,
    home: Path | None = None,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    **writer: object,
) -> subprocess.Popen[str]:
    """Start the process, by way of the prefix's program, on a host if one is given; its output can be read from `stdout`.

    A host has a ROWLEDGER_HOME of its own, and so has a run that is given one. With a file of hosts (`LinkedHosts.file`) these
    stand in for those of Ray.
    """
    arguments = [spec.as_json(), str(landing), ",".join(keys), json.dumps({**FAST, **writer})]
    start_process = subprocess.Popen if host is None else host.run
    own = dict(variables or {})
    if host is not None:
        own["ROWLEDGER_HOME"] = str(landing.parent / f"home-of-{host.name}")
    if home is not None:
        own["ROWLEDGER_HOME"] = str(home)
    if hosts_file is not None:
        own[HOSTS_FILE] = str(hosts_file)
    return start_process(
        [*prefix, sys.executable, "-m", __name__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=child_environment(ROWLEDGER_DATABASE_URL=database, ROWLEDGER_FAILPOINTS=failpoints, **own),
        start_new_session=True,  # so that a signal to the whole group, as from a terminal, does not reach the tests
    )


def main() -> int:
    """Entry point of the process."""
    spec_json, landing, keys, settings = sys.argv[1:]
    spec = TableSpec.from_json(spec_json)
    if hosts_file := os.environ.get(HOSTS_FILE):
        engine = LinkedEngine(Path(hosts_file))
        vars(importlib.import_module("rowledger.engines"))["engine_of"] = lambda _writer: engine
    try:
        reports = run_load(
            spec,
            partitions_of(spec, keys.split(",")),
            url=target_url() if spec.servers is None else None,
            landing_dir=Path(landing),
            writer=WriterSettings.model_validate_json(settings),
            run_id=f"process {os.getpid()}",
            observer=_Printer(),
        )
    except LoadCancelled as cancelled:
        _say(str(cancelled))
        return INTERRUPTED
    for report in reports:
        _say(f"{report.partition_key} {report.error!r}")
    return 0 if all(report.published for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
