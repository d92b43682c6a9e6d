"""`make demo-hosts`: a year of flights on two hosts, one of which is killed in mid-COPY. Exit code 0 only if no row is missing.

The hosts are network namespaces with a node of Ray each, and PostgreSQL is outside. Where this user may make no namespaces they
are loopback addresses. Nothing of it is left running.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click
import psutil
from rich.console import Console

from pipeline.loopback_hosts import loopback_hosts
from pipeline.namespaces import Network, NoNamespaces, network_of_hosts
from pipeline.nycflights import land_flights_by_month
from pipeline.ray_nodes import Machine, NodeFailed, RayCluster, ray_cluster
from rowledger import RowledgerError

__all__ = ["main"]

HEAD, SURVIVOR, VICTIM = "head", "amsterdam", "berlin"
HOME = Path(".rowledger", "demo-hosts").resolve()
ROWS = 336_776
RANGE = "2013-01-01...2013-12-01"
STOP = "mid_copy=sigstop@attempt=1,chunk=2"
"""What holds a worker of the victim in the middle of the COPY of the third chunk of a month, until its host is killed."""
SETTINGS = {"engine": "ray", "workers": 2, "chunk_rows_max": 4_000, "batch_rows": 1_000}
ROWLEDGER = (sys.executable, "-m", "rowledger")
WAIT_S = 120.0

console = Console(soft_wrap=True)


class DemoFailed(RowledgerError):
    """The demo did not find what it should."""


def main() -> None:
    """Run the demo; ends the process with its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _server():
            _run()
    except (RowledgerError, NodeFailed) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted; all that was started has ended", err=True)
        sys.exit(130)
    console.print(
        "\nNext: [bold]docs/hosts.md[/] says how to start a cluster of your own, and what becomes of it in faults."
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run() -> None:
    console.rule("Two hosts, and PostgreSQL outside")
    rows = sum(land_flights_by_month(HOME / "landing" / "flights").values())
    with contextlib.ExitStack() as stack:
        try:
            network = stack.enter_context(network_of_hosts(HEAD, SURVIVOR, VICTIM))
        except NoNamespaces as error:
            console.print(f"[yellow]{error}.[/]\nThe hosts are loopback addresses of this machine instead.")
            machines: dict[str, Machine] = dict(stack.enter_context(loopback_hosts(HEAD, SURVIVOR, VICTIM)))
            url = _output("db", "url").strip()
        else:
            machines = dict(network.hosts)
            url = _serve(network)
        cluster = stack.enter_context(_started(machines, url))
        _load_and_kill(cluster, machines, url, rows)
        _rerun(cluster, machines[HEAD], url)


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """An embedded server of the demo's own, with nothing in it; deleted at the end, with the files that were landed."""
    os.environ |= {"ROWLEDGER_HOME": str(HOME), "ROWLEDGER_DATABASE_URL": ""}
    _output("db", "destroy", "--yes")
    try:
        _output("db", "migrate")
        yield
    finally:
        _output("db", "destroy", "--yes")
        shutil.rmtree(HOME, ignore_errors=True)


def _serve(network: Network) -> str:
    """Have the server listen for the hosts too, by a restart; its URL for them."""
    address = network.outside.address
    _psql(f"alter system set listen_addresses = '127.0.0.1,{address}'")
    rules = Path(_psql("show hba_file"))
    with rules.open("a", encoding="utf-8") as file:
        file.writelines(f"host all all {host.address}/32 scram-sha-256\n" for host in network.hosts.values())
    _output("db", "stop")
    _output("db", "start")
    parts = urlsplit(_output("db", "url").strip())
    return urlunsplit(parts._replace(netloc=parts.netloc.replace("@127.0.0.1:", f"@{address}:")))


@contextlib.contextmanager
def _started(machines: dict[str, Machine], url: str) -> Iterator[RayCluster]:
    """A node of Ray on each host. The victim's workers are to stop in mid-COPY, once."""
    environment = {**os.environ, "ROWLEDGER_DATABASE_URL": url}
    with console.status("Ray starts a node on each host …"), contextlib.ExitStack() as stack:
        cluster = stack.enter_context(ray_cluster(machines[HEAD], environment))
        nodes = [
            cluster.head,
            cluster.start(machines[SURVIVOR], environment),
            cluster.start(machines[VICTIM], {**environment, "ROWLEDGER_FAILPOINTS": STOP}),
        ]
        for node in nodes:
            node.wait_until_up()
        stack_of_caller = stack.pop_all()
    with stack_of_caller:
        for node in nodes:
            what = "the run's process, and no chunks" if node.machine.name == HEAD else "an agent and 2 workers"
            console.print(f"  {node.machine.name:<10} {node.machine.address:<16} {what}")
        yield cluster


def _load_and_kill(cluster: RayCluster, machines: dict[str, Machine], url: str, rows: int) -> None:
    console.rule(f"A year of flights, and {VICTIM} is killed in mid-COPY")
    victim = machines[VICTIM]
    with _load(cluster, machines[HEAD], url) as run:
        stopped = _wait_until(lambda: _stopped(victim), run, f"a worker of {VICTIM} is in mid-COPY")
        killed = victim.kill_all()
        console.print(
            f"[bold red]{VICTIM} is killed[/], worker {stopped[0]} in mid-COPY with it: SIGKILL for {len(killed)} processes"
        )
        if run.wait() != 0:
            raise DemoFailed(f"the load ended with exit code {run.returncode}")
    _rowledger("incidents", "--table", "flights")
    incidents = [found for found in _told("incidents", "--table", "flights") if found["kind"] == "host_lost"]
    totals = _told("status", "--table", "flights")["totals"]
    in_table = int(_psql("select count(*) from flights"))
    by_host = _psql(
        "select string_agg(format('%s by %s', count, worker_host), ', ' order by worker_host) from (select worker_host, "
        "count(*) from rowledger.chunk where state = 'committed' group by 1) as hosts"
    )
    if {found["host"].partition(" ")[0] for found in incidents} != {VICTIM}:
        raise DemoFailed(f"{VICTIM} was killed; the ledger has the loss of: {[found['host'] for found in incidents]}")
    if not {found["pid"] for found in incidents} & set(killed):
        raise DemoFailed("no incident has the pid of a worker that was killed")
    if not rows == ROWS == totals["enqueued_rows"] == totals["written_rows"] == in_table:
        raise DemoFailed(f"2013 has {ROWS} flights: {rows} landed, {in_table} in the table, the ledger has: {totals}")
    console.print(f"chunks committed: {by_host}")
    console.print(
        f"counted in the table itself: [bold]{in_table:,}[/] flights of {rows:,}; no row was lost or doubled",
        soft_wrap=True,
    )


def _rerun(cluster: RayCluster, head: Machine, url: str) -> None:
    console.rule("The same load again")
    last = "select max(committed_at) from rowledger.chunk"
    before = _psql(last)
    with _load(cluster, head, url) as run:
        if run.wait() != 0:
            raise DemoFailed(f"the rerun ended with exit code {run.returncode}")
    in_table = int(_psql("select count(*) from flights"))
    if (_psql(last), in_table) != (before, ROWS):
        raise DemoFailed(f"the rerun has written; the table has {in_table} flights of {ROWS}")
    console.print(
        f"nothing to do: all chunks were there, none was written again; the table has [bold]{in_table:,}[/] flights"
    )


@contextlib.contextmanager
def _load(cluster: RayCluster, head: Machine, url: str) -> "Iterator[subprocess.Popen[Any]]":
    """The command that loads, on the head's host; what it says goes to this terminal."""
    settings = {**SETTINGS, "engine_address": cluster.address}
    lines = [
        ["load", "pipeline.flights_by_month:FLIGHTS_BY_MONTH"],
        ["--partition-range", RANGE, "--by", "month", "--timezone", "America/New_York"],
        [word for name, value in settings.items() for word in ("--set", f"{name}={value}")],
    ]
    click.echo("$ rowledger " + " \\\n    ".join(" ".join(line) for line in lines))
    command = [word for line in lines for word in line]
    process = head.run([*ROWLEDGER, *command], env={**os.environ, **cluster.access, "ROWLEDGER_DATABASE_URL": url})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _stopped(machine: Machine) -> list[int]:
    """The processes of a host that a SIGSTOP holds."""
    found = []
    for pid in machine.pids():
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                found.append(pid)
    return found


def _wait_until(condition: Callable[[], list[int]], run: "subprocess.Popen[Any]", what: str) -> list[int]:
    for _ in range(int(WAIT_S / 0.1)):
        if found := condition():
            return found
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(0.1)
            break
    raise DemoFailed(f"waited in vain until {what}; the load's exit code is {run.poll()}")


def _psql(statement: str) -> str:
    return _output("db", "psql", "--", "--tuples-only", "--no-align", "--command", statement).strip()


def _rowledger(*arguments: str) -> None:
    """Run a `rowledger` command on this terminal."""
    click.echo(f"$ rowledger {' '.join(arguments)}")
    subprocess.run([*ROWLEDGER, *arguments], check=False)  # noqa: S603 - the project's own command


def _told(*arguments: str) -> Any:  # noqa: ANN401 - any JSON
    """The JSON that a `rowledger` command prints."""
    return json.loads(_output(*arguments, "--json"))


def _output(*arguments: str) -> str:
    done = subprocess.run([*ROWLEDGER, *arguments], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise DemoFailed(f"rowledger {' '.join(arguments)} ended with exit code {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
