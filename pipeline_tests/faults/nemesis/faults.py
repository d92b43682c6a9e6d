"""What the nemesis can do to a load from outside, and how often it does each."""

from enum import StrEnum

__all__ = ["HARMLESS_FAULTS", "HOST_WEIGHTS", "LASTING_FAULTS", "PROXY_FAULTS", "RUN_HOST_WEIGHTS", "WEIGHTS", "Fault"]


class Fault(StrEnum):
    """What the nemesis can do to a load from outside; failpoints, which strike from inside, are settings of a run."""

    KILL_WORKER = "kill_worker"
    SEGV_WORKER = "segv_worker"
    STOP_WORKER = "stop_worker"  # continued after a while: sooner or later than the stall timeout
    KILL_SUPERVISOR = "kill_supervisor"
    STOP_SUPERVISOR = "stop_supervisor"
    KILL_GROUP = "kill_group"
    STOP_GROUP = "stop_group"  # a run that wakes up when its lease has lapsed
    SIGTERM = "sigterm"
    SIGINT = "sigint"  # to the whole group, as from a terminal
    SIGINT_TWICE = "sigint_twice"
    END_BACKEND = "end_backend"  # pg_terminate_backend
    KILL_BACKEND = "kill_backend"  # SIGKILL of a server process: crash recovery
    CRASH_SERVER = "crash_server"  # immediate stop, and a start after a while
    CUT = "cut"  # every connection, by the proxy
    REFUSE = "refuse"  # every connection, and new ones for a while
    FREEZE = "freeze"  # one connection falls silent, and is cut after a while
    LOSE_REPLY = "lose_reply"  # the next COMMIT is executed, its reply is lost, and with it the connection
    LOSE_REPLY_AND_WORKER = (
        "lose_reply_and_worker"  # it is executed, and its worker killed while it waits for the reply
    )
    LOSE_COMMIT = "lose_commit"  # the next COMMIT never arrives, and the connection is lost
    LATE_COMMIT = (
        "late_commit"  # the client has lost the connection; the server gets the COMMIT after a while, or never
    )
    # Of hosts, where the chunks of runs are committed by some.
    KILL_HOST = "kill_host"  # all of it, as by a power cut; it comes back after a while
    KILL_AGENT = "kill_agent"
    FREEZE_HOST = "freeze_host"  # it thaws after a while: sooner or later than `host_silent_s`
    CUT_HOST = "cut_host"  # from the heads of all runs; it is healed after a while
    CUT_HOST_FROM_DATABASE = "cut_host_from_database"  # connections are refused, or all falls silent
    SLOW_HOST = "slow_host"
    TAKE_HOST_AWAY = "take_host_away"  # switched off for good
    ADD_HOST = "add_host"


PROXY_FAULTS = frozenset(
    {
        Fault.CUT,
        Fault.REFUSE,
        Fault.FREEZE,
        Fault.LOSE_REPLY,
        Fault.LOSE_REPLY_AND_WORKER,
        Fault.LOSE_COMMIT,
        Fault.LATE_COMMIT,
    }
)
LASTING_FAULTS = frozenset(
    {
        Fault.STOP_WORKER,
        Fault.STOP_SUPERVISOR,
        Fault.STOP_GROUP,
        Fault.CRASH_SERVER,
        Fault.REFUSE,
        Fault.FREEZE,
        Fault.LATE_COMMIT,
        Fault.KILL_HOST,
        Fault.FREEZE_HOST,
        Fault.CUT_HOST,
        Fault.CUT_HOST_FROM_DATABASE,
        Fault.SLOW_HOST,
    }
)
HARMLESS_FAULTS = frozenset({Fault.SIGTERM, Fault.SIGINT, Fault.SIGINT_TWICE, Fault.SLOW_HOST, Fault.ADD_HOST})
"""They end nothing but what was told to end, and cut nothing off."""

WEIGHTS = {
    Fault.KILL_WORKER: 16,
    Fault.SEGV_WORKER: 4,
    Fault.STOP_WORKER: 3,
    Fault.KILL_SUPERVISOR: 2,
    Fault.STOP_SUPERVISOR: 2,
    Fault.KILL_GROUP: 1,
    Fault.STOP_GROUP: 1,
    Fault.SIGTERM: 1,
    Fault.SIGINT: 1,
    Fault.SIGINT_TWICE: 1,
    Fault.END_BACKEND: 5,
    Fault.KILL_BACKEND: 2,
    Fault.CRASH_SERVER: 2,
    Fault.CUT: 4,
    Fault.REFUSE: 2,
    Fault.FREEZE: 3,
    Fault.LOSE_REPLY: 10,
    Fault.LOSE_REPLY_AND_WORKER: 8,
    Fault.LOSE_COMMIT: 8,
    Fault.LATE_COMMIT: 6,
}
HOST_WEIGHTS = {
    Fault.KILL_HOST: 10,
    Fault.KILL_AGENT: 6,
    Fault.FREEZE_HOST: 8,
    Fault.CUT_HOST: 10,
    Fault.CUT_HOST_FROM_DATABASE: 10,
    Fault.SLOW_HOST: 4,
    Fault.TAKE_HOST_AWAY: 2,
    Fault.ADD_HOST: 3,
}
RUN_HOST_WEIGHTS = {
    fault: HOST_WEIGHTS[fault]
    for fault in (
        Fault.KILL_HOST,
        Fault.FREEZE_HOST,
        Fault.CUT_HOST_FROM_DATABASE,
        Fault.SLOW_HOST,
        Fault.TAKE_HOST_AWAY,
        Fault.ADD_HOST,
    )
}
"""Where whole runs are on hosts, which have no head elsewhere."""
