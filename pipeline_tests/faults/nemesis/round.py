"""One round: a database of its own, its phases under faults, reruns without, and the verdict on all of it."""

import collections
import contextlib
import dataclasses
import re
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

import rowledger.errors
from pipeline_tests.faults.nemesis.plan import PhasePlan, RoundPlan, RunPlan
from pipeline_tests.faults.nemesis.process import Run, marked_processes
from pipeline_tests.faults.nemesis.sources import SPECS, SourceVersion, make_version, write_version
from pipeline_tests.faults.nemesis.strikes import CommitInDoubt, CommitKind, Kill, Striker
from pipeline_tests.faults.nemesis.verdict import Balance, judge_leftovers, judge_rows, judge_spool
from pipeline_tests.faults.nemesis.witness import Ledger, Reader, State, expected_state
from pipeline_tests.support import run_process
from pipeline_tests.support.linked_hosts import LinkedHosts, RunHosts
from pipeline_tests.support.proxy import Proxy
from pipeline_tests.support.ray_fleet import RayFleet
from pipeline_tests.support.sour_tables import SOUR_TABLES
from rowledger import failpoints
from rowledger.embedded.server import EmbeddedServer

__all__ = ["DATABASE_OF_CLUSTER", "Round", "Tally", "database_url"]

DATABASE_OF_CLUSTER = "nemesis"
"""The nodes of a cluster are started once, with the URL of this database."""

_POLL_S = 0.02
_RUN_BOUND_S = 120.0  # from the last fault, or the last end of one; all settings of the runs end well before
_ROUND_BOUND_S = 480.0
_ROUND_ON_HOSTS_BOUND_S = 960.0  # agents have to come up again and again
_GONE_BOUND_S = 20.0  # for processes and sessions of runs that have ended
_TOO_LATE_S = 6.0  # closing a pool takes a few seconds: a worker killed then owes nobody a chunk
_LASTING_S = 15.0  # what befalls a host ends before
_RERUNS_MAX = 3
_RESUMPTIONS_MAX = 3
_INEXCUSABLE = {  # by any fault that the nemesis knows: such a run is red because of a mistake that another guard has caught
    "DiscrepancyFound",
    "SourceError",
    "TargetMismatch",
    "DeadLetterBudgetSpent",
    "ContractError",
    "SpecError",
    "UnknownPartition",
    "WriterClosed",
}
_RESULT = re.compile(r"^\S+ (None|(\w+)\()")


@dataclass
class Tally:
    """What has been done, seen and found: of one round, or of all."""

    kills: int = 0
    fired: collections.Counter[str] = field(default_factory=collections.Counter)
    """Strikes that have hit something, by fault."""
    runs: int = 0
    rows: int = 0
    reads: int = 0
    balance: Balance = field(default_factory=Balance)
    committed: int = 0
    aborted: int = 0
    detections_s: list[float] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)
    exits: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in the tally of one round."""
        for name in (each.name for each in dataclasses.fields(self)):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Round:
    """One round; `conduct` once. What is known of it stays readable when it is cut short."""

    def __init__(
        self, plan: RoundPlan, server: EmbeddedServer, folder: Path, mark: str, fleet: RayFleet | None = None
    ) -> None:
        self.plan = plan
        self.tally = Tally()
        self.runs: list[Run] = []
        self.said: list[str] = []
        self._server = server
        self._folder = folder
        self._mark = mark
        self._spec = SPECS[plan.manner][plan.table]
        self._keys = [partition.key for partition in plan.phases[0].partitions]
        self._started = time.monotonic()
        self._doubts: list[CommitInDoubt] = []
        self._fleet = fleet
        self._hosts: LinkedHosts | RayFleet | None = None
        self._whole_states: dict[str, list[State]] = {key: [] for key in self._keys}

    def conduct(self) -> Tally:
        """Do it all; findings stand in the tally."""
        with (
            _database(self._server, self.plan.table, DATABASE_OF_CLUSTER if self._fleet else "") as url,
            tempfile.TemporaryDirectory(dir=self._folder, prefix="landing-") as landing,
            contextlib.ExitStack() as stack,
        ):
            stack.callback(self.end_runs)
            ledger = Ledger(url)
            stack.callback(ledger.close)
            has_own_proxy = self.plan.through_proxy and not self.plan.whole_runs
            address = self._fleet.outside_address if self._fleet else "127.0.0.1"
            proxy = stack.enter_context(Proxy(url, address)) if has_own_proxy else None
            if self._fleet:
                self._hosts = self._fleet
                self._fleet.ready(self.plan.hosts)
            elif self.plan.hosts:
                names = [f"host{number}" for number in range(1, self.plan.hosts + 1)]
                kind = RunHosts if self.plan.whole_runs else LinkedHosts
                self._hosts = stack.enter_context(kind(Path(landing), url, names))
            reader = Reader(url, self._spec, self._keys)
            versions: list[SourceVersion] = []
            with reader.reading():
                for number, phase in enumerate(self.plan.phases, start=1):
                    versions = [make_version(self.plan.table, part, number) for part in phase.partitions]
                    for version in versions:
                        write_version(Path(landing), self.plan.table, version, phase.row_group_rows)
                        self._whole_states[version.key].append(expected_state(url, self.plan.table, version))
                    self._say(f"phase {number}")
                    self._conduct_phase(phase, url, proxy, Path(landing), ledger, versions)
                    if self.tally.findings:
                        break
                if not self.tally.findings:
                    # The namespaces of a cluster do not reach the server itself.
                    self._converge(url, proxy.url if self._fleet and proxy else url, Path(landing), versions)
            reader.read_once()
            self.tally.reads = reader.reads
            if not ledger.fetch("select 1 from rowledger.dead_letter where stage = 'crash' limit 1"):
                self._find(*reader.judge(self._whole_states))
            self._settle_doubts(ledger)
        return self.tally

    def end_runs(self) -> None:
        """Kill whatever is left of the round's processes."""
        for run in self.runs:
            run.end()
        for process in marked_processes(self._mark):
            with contextlib.suppress(Exception):
                process.kill()

    # ---- a phase ---------------------------------------------------------------------------------------------------------

    def _conduct_phase(
        self,
        phase: PhasePlan,
        url: str,
        proxy: Proxy | None,
        landing: Path,
        ledger: Ledger,
        versions: list[SourceVersion],
    ) -> None:
        striker = Striker(self._server, ledger, proxy, phase.strikes, self._hosts)
        striker.said = self.said
        since = ledger.now()
        waiting = list(phase.runs)
        resumptions = 0
        try:
            while True:
                progress = ledger.progress(since)
                for plan in list(waiting):
                    if plan.starts_at is None or striker.has_come(plan.starts_at.sign, plan.starts_at.count, progress):
                        waiting.remove(plan)
                        striker.runs.append(self._start(proxy.url if proxy else url, landing, plan))
                striker.act(progress)
                living = [run for run in striker.runs if run.exit_code is None]
                if not living and waiting:  # a rival whose moment has not come goes after the others
                    waiting[0] = dataclasses.replace(waiting[0], starts_at=None)
                elif not living:
                    is_green = any(run.exit_code == 0 and run.is_for_all for run in striker.runs)
                    if is_green or not striker.has_more or resumptions == _RESUMPTIONS_MAX:
                        break
                    # What ended red is started again, as its operator would, into the faults that are left.
                    resumptions += 1
                    waiting.append(dataclasses.replace(phase.runs[0], failpoints="", busy_wait_s=15))
                if self._is_over_a_bound(living, striker):
                    break
                time.sleep(_POLL_S)
        finally:
            striker.finish()
        for run in striker.runs:
            run.end()
        self._doubts += striker.doubts
        self.tally.kills += len(striker.kills) + striker.other_kills
        self.tally.fired += striker.fired
        self._wait_until_gone(url)
        self._judge_exits(striker, phase)
        if not self.tally.findings and any(run.exit_code == 0 and run.is_for_all for run in striker.runs):
            self._judge_rows(url, versions, "a run was green, but")
        self._judge_deaths(striker, ledger)
        self._measure(striker, ledger)

    def _start(self, url: str, landing: Path, plan: RunPlan) -> Run:
        name = f"run {len(self.runs) + 1}"
        if isinstance(self._hosts, RunHosts):
            host = self._hosts.place()
            run = Run(name, host.proxy.url, self._spec, landing, self._keys, plan, home=host.home)
            self._hosts.began(host, run.process)
            self._say(f"{run.name} starts on {host.name}, process {run.pid}")
        else:
            run = Run(name, url, self._spec, landing, self._keys, plan, self._hosts)
            self._say(f"{run.name} starts, process {run.pid}")
        self.runs.append(run)
        self.tally.runs += 1
        return run

    def _is_over_a_bound(self, living: list[Run], striker: Striker | None) -> bool:
        """Whether a run has gone on for longer than anything may; says what hangs where."""
        now = time.monotonic()
        over = []
        for run in living:
            since = max(run.started_at, striker.last_event_at if striker else 0)
            if run.must_end_by is not None and now > run.must_end_by:
                over.append(f"{run.name} was told to end and goes on")
            elif now > since + _RUN_BOUND_S:
                over.append(f"{run.name} goes on {_RUN_BOUND_S:.0f} s after the last fault")
        round_bound_s = _ROUND_ON_HOSTS_BOUND_S if self.plan.hosts else _ROUND_BOUND_S
        if now > self._started + round_bound_s:
            over.append(f"the round has taken {round_bound_s:.0f} s")
        if over:
            self._find(*over, self._describe_processes())
        return bool(over)

    def _wait_until_gone(self, url: str) -> None:
        """No process and no session is left of runs that have ended."""
        deadline = time.monotonic() + _GONE_BOUND_S
        ledger = Ledger(url)
        try:
            while True:
                processes = marked_processes(self._mark)
                sessions = ledger.fetch(
                    "select pid, application_name, state, wait_event, xact_start, left(query, 80) from pg_stat_activity "
                    "where application_name like 'rowledger%' and datname = current_database()"
                )
                if not processes and not sessions:
                    return
                if time.monotonic() > deadline:
                    break
                time.sleep(_POLL_S)
        finally:
            ledger.close()
        if processes:
            self._find(f"processes left behind: {self._describe_processes()}")
        if sessions:
            self._find(f"sessions left behind: {sessions}")

    def _converge(self, url: str, url_of_runs: str, landing: Path, versions: list[SourceVersion]) -> None:
        """Rerun without faults: the first rerun must be green, whatever was before."""
        last = self.plan.phases[-1].runs[0]
        plan = dataclasses.replace(
            last, failpoints="", workers=2, stall_timeout_s=20, busy_wait_s=15, starts_at=None, host_silent_s=10
        )
        if self._fleet:  # a node that came back may not have come up: Ray gives it 30 s, on a busy machine too few
            self._fleet.ready(self.plan.hosts)
        for attempt in range(1, _RERUNS_MAX + 1):
            run = self._start(url_of_runs, landing, plan)
            while run.exit_code is None and not self._is_over_a_bound([run], None):
                time.sleep(_POLL_S)
            run.end()
            if run.exit_code == 0:
                break
            self._find(f"rerun {attempt} without faults ended with exit code {run.exit_code}")
        self._wait_until_gone(url)
        self._judge_rows(url, versions, "after the last rerun")
        self._find(*judge_leftovers(url, self._spec, versions))
        for home in self._hosts.homes() if self._hosts else ():
            self._find(*judge_spool(home))

    # ---- verdicts --------------------------------------------------------------------------------------------------------

    def _judge_rows(self, url: str, versions: list[SourceVersion], when: str) -> None:
        balance, findings = judge_rows(url, self._spec, versions)
        self.tally.balance += balance
        self.tally.rows += sum(len(version.rows) for version in versions)
        self._find(*(f"{when} {finding}" for finding in findings))

    def _judge_exits(self, striker: Striker, phase: PhasePlan) -> None:
        """Runs end in words of their own: an exit code that says what happened, an error of Rowledger's."""
        has_failpoints = any(plan.failpoints for plan in phase.runs)
        for run in striker.runs:
            code = run.exit_code
            may_die = run.was_killed or has_failpoints
            if code == -signal.SIGTERM and not run.lines:  # it was still importing, and had no handler yet
                code = run_process.INTERRUPTED
            allowed = {0, 1, run_process.INTERRUPTED, -signal.SIGINT}
            if code not in allowed | ({-signal.SIGKILL, -signal.SIGSEGV} if may_die else set()):
                self._find(f"{run.name} ended with exit code {code}")
            self.tally.exits[f"exit code {code}"] += 1
            for name in _errors_of(run):
                self.tally.exits[name] += 1
                if name in _INEXCUSABLE:
                    self._find(f"{run.name} ended with {name}, which no fault excuses")
                elif not hasattr(rowledger.errors, name) and not (has_failpoints and hasattr(failpoints, name)):
                    self._find(f"{run.name} ended with {name}, which is no error of Rowledger's")

    def _judge_deaths(self, striker: Striker, ledger: Ledger) -> None:
        """Each worker that was killed is told in its run's log and stands in the ledger, unless it came too late to matter."""
        recorded = {row[0] for row in ledger.fetch("select pid from rowledger.incident")}
        for kill in striker.kills:
            run = kill.run
            if self._could_not_tell(kill, striker):
                continue
            is_told = any(death.pid == kill.pid for death in run.deaths())
            if is_told:
                log = "\n".join(line for _, line in run.lines)
                excused = striker.crashes or re.search(rf"of pid {kill.pid} on .+? is not in the ledger", log)
                if run.exit_code in {0, 1} and kill.pid not in recorded and not excused:
                    self._find(f"worker {kill.pid} of {run.name} died, and the ledger has no incident of it")
                continue
            ended_by_itself = run.exit_code in {0, 1} and run.must_end_by is None
            if ended_by_itself and (run.ended_at or 0) > kill.at + _TOO_LATE_S:
                late_s = (run.ended_at or 0) - kill.at
                self._find(f"worker {kill.pid} was killed {late_s:.1f} s before {run.name} ended, which never noticed")

    def _could_not_tell(self, kill: Kill, striker: Striker) -> bool:
        """Whether nobody was there to notice a worker's death, or to tell of it in time.

        Where chunks are on hosts, the head's own worker may have had nothing to plan: a process that was started early, and
        that no pool has. On a host that was hit or lost about that time, the agent may not have come to tell.
        """
        if kill.host is None and self.plan.hosts and not self.plan.whole_runs and not striker.had_session(kill.pid):
            return True
        if kill.host is None or striker.host_strikes is None:
            return False
        if striker.host_strikes.was_hit(kill.host, kill.at - _LASTING_S, kill.at + _TOO_LATE_S):
            return True
        lost = re.compile(rf"host {kill.host}(?: \(\S+\))? (was lost|was gone|cannot reach|did not end)")
        return any(at > kill.at - _TOO_LATE_S and lost.search(line) for at, line in kill.run.lines)

    def _measure(self, striker: Striker, ledger: Ledger) -> None:
        """How soon a death was noticed, and how soon its chunk was claimed again; where nothing else was wrong meanwhile."""
        killed_at = {kill.pid: kill.at for kill in striker.kills}

        def is_clean(begin: float, end: float) -> bool:
            return all(end < first or begin > last for first, last in striker.disturbances)

        for run in striker.runs:
            for death in run.deaths():
                at = killed_at.get(death.pid)
                if at is not None and death.partition_key is not None and death.at > at and is_clean(at, death.at):
                    self.tally.detections_s.append(death.at - at)
                    self._say(f"death of worker {death.pid}, killed at {at:.3f}, was told after {death.at - at:.3f} s")
        for pid, claimed_at in ledger.fetch(
            "select incident.pid, extract(epoch from chunk.committed_at)::float8 from rowledger.incident "
            "join rowledger.chunk using (load_id, chunk_no) "
            "where chunk.state = 'committed' and chunk.attempt = incident.attempt + 1"
        ):
            at = killed_at.get(pid)
            if at is not None and claimed_at > at and is_clean(at, claimed_at):
                self.tally.recoveries_s.append(claimed_at - at)
                self._say(f"chunk of worker {pid}, killed at {at:.3f}, was claimed again after {claimed_at - at:.3f} s")

    def _settle_doubts(self, ledger: Ledger) -> None:
        """What the ledger says became of each COMMIT in doubt."""
        for doubt in self._doubts:
            match doubt.kind:
                case CommitKind.CHUNK:
                    found = ledger.fetch(
                        "select 1 from rowledger.chunk where state = 'committed' and worker_pid = %s "
                        "and committed_at between to_timestamp(%s) and to_timestamp(%s)",
                        (doubt.worker_pid, doubt.begun_at, doubt.sent_at),
                    )
                case CommitKind.PUBLISH:
                    staging = re.search(r"staging_(\d+)", " ".join(doubt.said))
                    assert staging is not None, doubt
                    found = ledger.fetch(
                        "select 1 from rowledger.load where load_id = %s and state in ('published', 'replaced') "
                        "and ended_at <= to_timestamp(%s)",
                        (int(staging[1]), doubt.sent_at),
                    )
            if found:
                self.tally.committed += 1
            else:
                self.tally.aborted += 1

    # ---- books -----------------------------------------------------------------------------------------------------------

    def _find(self, *findings: str) -> None:
        self.tally.findings += findings

    def _say(self, text: str) -> None:
        self.said.append(f"{time.time():.3f} {text}")

    def _describe_processes(self) -> str:
        lines = []
        for process in marked_processes(self._mark):
            with contextlib.suppress(Exception):
                lines.append(f"{process.pid} {process.status()} {' '.join(process.cmdline())[:160]}")
        return "; ".join(lines)


def _errors_of(run: Run) -> list[str]:
    """Names of the errors that a run ended with: those of its partitions, and the one of the whole run."""
    names, of_the_run = [], None
    is_traceback = False
    for _, line in run.lines:
        if match := _RESULT.match(line):
            names += [match[2]] if match[2] else []
        elif line.startswith("Traceback (most recent call last)"):
            is_traceback = True
        elif is_traceback and (match := re.match(r"([\w.]+)(: |$)", line)):
            is_traceback, of_the_run = False, match[1].rpartition(".")[2]  # of a chain, the last one counts
    return [*names, *({of_the_run} - {None, "KeyboardInterrupt"})]


def database_url(server: EmbeddedServer, name: str) -> str:
    """The URL of a database of the server."""
    return urlunsplit(urlsplit(server.url())._replace(path=f"/{name}"))


@contextlib.contextmanager
def _database(server: EmbeddedServer, table: str, name: str) -> Iterator[str]:
    name = name or f"nemesis_{uuid.uuid4().hex[:12]}"
    url = database_url(server, name)
    _execute(server.url(), f"create database {name} template template0 encoding 'UTF8'")
    try:
        if table in SOUR_TABLES:  # whose own rule refuses some of the rows
            _execute(url, SOUR_TABLES[table])
        yield url
    finally:
        server.ensure_running()
        _execute(server.url(), f"drop database {name} with (force)")


def _execute(url: str, statement: str) -> None:
    connection = psycopg2.connect(url, connect_timeout=30, options="-c statement_timeout=60s")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
