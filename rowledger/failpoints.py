"""Deliberate faults at named places, for the tests and the demo. Off unless `ROWLEDGER_FAILPOINTS` asks for them.

The variable holds rules separated by `;`. Each rule is `place=action` with optional conditions after an `@`:

    mid_copy=sigkill@partition=2013-02-01,chunk=0,attempt=1 ; after_commit=exit0@attempt=1 ; while_encoding=sigsegv@row=17
"""

import asyncio
import functools
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rowledger.errors import RowledgerError
from rowledger.settings import failpoint_rules

__all__ = ["FailpointError", "Place", "active_failpoints", "async_failpoint", "failpoint"]

_SLEEP = "sleep"
_SLEEP_S = 3_600.0
_BITE_BYTES = 4 * 2**20
_BITE_PAUSE_S = 0.02


class Place(StrEnum):
    """The places of faults."""

    WHILE_ENCODING = "while_encoding"
    BEFORE_BEGIN = "before_begin"
    AFTER_CLAIM = "after_claim"
    MID_COPY = "mid_copy"
    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    WHILE_REPORTING = "while_reporting"
    IN_HEARTBEAT = "in_heartbeat"
    IN_PLANNING = "in_planning"
    WHILE_PLANNING = "while_planning"
    IN_SPOOLING = "in_spooling"
    BEFORE_RECORD = "before_record"
    BEFORE_SEAL = "before_seal"
    BEFORE_RECONCILE = "before_reconcile"
    IN_RECONCILE = "in_reconcile"
    BEFORE_PUBLISH = "before_publish"
    IN_PUBLISH = "in_publish"
    AFTER_PUBLISH = "after_publish"
    BEFORE_REPLAY = "before_replay"
    IN_REPLAY = "in_replay"
    BEFORE_REPLAY_COMMIT = "before_replay_commit"
    AFTER_REPLAY_COMMIT = "after_replay_commit"


class FailpointError(RowledgerError):
    """A failpoint raised, as its rule asks."""


class _UnpicklableError(Exception):
    """Cannot be pickled, is 20 KB long and has a broken `__str__`: the worst that a library's exception may be."""

    def __init__(self, padding: str, lock: object) -> None:
        super().__init__(padding)
        self.lock = lock

    def __str__(self) -> str:
        raise RuntimeError("this exception cannot be printed")


def _raise_plain() -> None:
    raise FailpointError("failpoint")


def _raise_hostile() -> None:
    raise _UnpicklableError("x" * 20_000, lambda: None)


def _eat_memory() -> None:
    """Allocate memory and touch it until something ends the process, slowly enough for a guard that looks 10 times a second."""
    eaten = []
    while True:
        eaten.append(b"x" * _BITE_BYTES)
        time.sleep(_BITE_PAUSE_S)


_ACTIONS: dict[str, Callable[[], None]] = {
    "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "sigsegv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "sigstop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit0": lambda: os._exit(0),
    "exit1": lambda: os._exit(1),
    "raise": _raise_plain,
    "raise_hostile": _raise_hostile,
    "eat_memory": _eat_memory,
    _SLEEP: lambda: time.sleep(_SLEEP_S),
}


@dataclass(frozen=True, slots=True)
class _Rule:
    place: Place
    action: str
    conditions: tuple[tuple[str, str], ...]


def _holds(fact: object, value: str) -> bool:
    """Whether the fact equals the value, or is a sequence that contains it."""
    if isinstance(fact, Sequence) and not isinstance(fact, str):
        return value.isdecimal() and int(value) in fact
    return str(fact) == value


def _due(place: Place, facts: dict[str, object]) -> Iterator[str]:
    """The actions of the rules that name this place and whose conditions hold."""
    for rule in _rules(failpoint_rules()):
        if rule.place is place and all(_holds(facts.get(name), value) for name, value in rule.conditions):
            yield rule.action


def failpoint(place: Place, **facts: object) -> None:
    """Act if a rule names this place and its conditions hold for the facts (partition, chunk, attempt, row, letter)."""
    for action in _due(place, facts):
        _ACTIONS[action]()


async def async_failpoint(place: Place, **facts: object) -> None:
    """Act like `failpoint`, in code of an event loop: here a sleep does not block the loop's other tasks."""
    for action in _due(place, facts):
        if action == _SLEEP:
            await asyncio.sleep(_SLEEP_S)
        else:
            _ACTIONS[action]()


def active_failpoints() -> str:
    """The rules in force, for the log; empty when there are none."""
    return "; ".join(f"{rule.place}={rule.action}" for rule in _rules(failpoint_rules()))


@functools.cache
def _rules(texts: str) -> tuple[_Rule, ...]:
    return tuple(_parse(text.strip()) for text in texts.split(";") if text.strip())


def _parse(text: str) -> _Rule:
    head, _, tail = text.partition("@")
    place, _, action = (part.strip() for part in head.partition("="))
    if place not in set(Place) or action not in _ACTIONS:
        raise FailpointError(f"failpoint {text!r}: places are {', '.join(Place)}; actions are {', '.join(_ACTIONS)}")
    pairs = (part.partition("=") for part in tail.split(",") if part.strip())
    return _Rule(Place(place), action, tuple((name.strip(), value.strip()) for name, _, value in pairs))
