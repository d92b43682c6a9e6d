"""A gate in the server, to hold a chunk's transaction in mid-COPY or in mid-COMMIT for as long as a test wants.

The transaction asks for an advisory lock that the test holds, so it waits where a slow server would be at work: it takes no
byte, answers nothing, and can be terminated.
"""

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Self

import psycopg2

from pipeline_tests.support.database import fetch
from pipeline_tests.support.waiting import wait_until

__all__ = ["Gate", "Where", "gate"]

_LOCK = 198


class Where(StrEnum):
    """Where the gate stands."""

    IN_COPY = "in_copy"  # before the event with number 100
    IN_COMMIT = "in_commit"  # of chunk 1, by a constraint that is checked at its end


_STAGING_GATE = (
    "create function public.attach() returns event_trigger language plpgsql as $$ declare made record; begin "
    "for made in select * from pg_event_trigger_ddl_commands() "
    "where object_type = 'table' and schema_name = 'rowledger' and command_tag = 'CREATE TABLE' loop "
    "execute format('create trigger gate before insert on %s for each row when (new.event_id = 100) "
    "execute function public.pass()', made.object_identity); end loop; end $$"
)
_LEDGER_GATE = (
    "create constraint trigger gate after update on rowledger.chunk deferrable initially deferred "
    "for each row when (new.state = 'committed' and new.chunk_no = 1) execute function public.pass()"
)
_SETUP = {
    Where.IN_COPY: (
        _STAGING_GATE,
        "create event trigger attach on ddl_command_end execute function public.attach()",
    ),
    Where.IN_COMMIT: (_LEDGER_GATE,),
}
_WAITERS = (
    "select pid from pg_locks where locktype = 'advisory' and not granted "
    "and database = (select oid from pg_database where datname = current_database())"
)


class Gate:
    """A closed gate; made by `gate`."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._holder = psycopg2.connect(database, connect_timeout=20)
        self._holder.autocommit = True

    def close(self) -> Self:
        """Shut it; a transaction that comes to it waits."""
        with self._holder.cursor() as cursor:
            cursor.execute("select pg_advisory_lock(%s)", [_LOCK])
        return self

    def open(self) -> None:
        """Let everybody pass from now on; a server that has crashed has opened it already."""
        with contextlib.suppress(psycopg2.Error):
            self._holder.close()

    def waiting(self) -> int | None:
        """The backend that waits at the gate."""
        return next(iter(self.all_waiting()), None)

    def all_waiting(self) -> list[int]:
        """The backends that wait at the gate."""
        return [row[0] for row in fetch(self._database, _WAITERS)]

    def wait(self) -> int:
        """Until a backend has come to the gate, which is returned."""
        return int(wait_until(self.waiting, "a transaction comes to the gate", timeout_s=60))


@contextlib.contextmanager
def gate(database: str, where: Where) -> Iterator[Gate]:
    """A gate in a database that has a ledger, closed at first and open behind the block."""
    fetch(
        database,
        "create function public.pass() returns trigger language plpgsql as "
        f"$$ begin perform pg_advisory_xact_lock_shared({_LOCK}); return new; end $$",
    )
    for statement in _SETUP[where]:
        fetch(database, statement)
    made = Gate(database)
    try:
        yield made.close()
    finally:
        made.open()
