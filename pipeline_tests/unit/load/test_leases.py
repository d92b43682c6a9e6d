"""Leases are renewed as long as the run lasts, whatever else fails."""

import asyncio
from typing import Any, cast

from rowledger.ledger.loads import Holder
from rowledger.ledger.sessions import SupervisorSessions
from rowledger.load.leases import LeaseKeeper

_DONE_S = 20


class _Sessions:
    """Sessions that count what they are asked for."""

    def __init__(self) -> None:
        self.renewals = 0
        self.renewed_twice = asyncio.Event()

    async def transaction(self, purpose: str, _work: object) -> None:
        if purpose == "renew leases":
            self.renewals += 1
            if self.renewals > 1:
                self.renewed_twice.set()


def test_leases_are_renewed_although_what_follows_a_renewal_fails() -> None:
    said: list[str] = []

    async def failing() -> None:
        raise RuntimeError("a value")

    async def scenario() -> None:
        sessions = _Sessions()
        keeper = LeaseKeeper(
            cast("SupervisorSessions", cast("Any", sessions)),
            Holder.this_process(),
            0.01,
            lambda _level, text: said.append(text),
            failing,
        )
        async with keeper.keeping(), asyncio.timeout(_DONE_S):
            await sessions.renewed_twice.wait()

    asyncio.run(scenario())
    assert "met an error of this program" in said[0]
