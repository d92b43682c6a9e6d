"""Find the rows of a job that kill their worker, by bisection: rows of a chunk, or dead letters of a replay."""

from collections.abc import Awaitable, Callable

from rowledger.ledger import IncidentKind

__all__ = ["A_ROW_MAY_DO_IT", "DEATHS_OF_ONE_ROW", "find_crashing_rows"]

DEATHS_OF_ONE_ROW = 3  # alone: workers may die of another cause meanwhile, and no innocent row must be set aside
A_ROW_MAY_DO_IT = (  # a stall may as well come from another session's lock, and no row must be set aside for that
    IncidentKind.CRASH,
    IncidentKind.SIGNAL,
    IncidentKind.OUT_OF_MEMORY,
    IncidentKind.EXIT_WITHOUT_REPORT,
    IncidentKind.MEMORY_LIMIT,
)


async def find_crashing_rows(
    survives: Callable[[int, int], Awaitable[bool]], first: int, stop: int, *, rows_max: int
) -> list[int] | None:
    """Row numbers in [first, stop) that kill a worker, at most `rows_max + 1` of them; empty when no single row does.

    `survives` has a worker try the rows of a range and says whether the worker lived. The whole range is known to
    kill. None means that a worker dies without any of the rows (in reading the chunk, for example). The search ends
    with an empty result when it has cost more workers than finding that many rows can cost: then single rows are not
    the cause.
    """
    search = _Search(survives, rows_max, deaths_left=(rows_max + 1) * ((stop - first).bit_length() + DEATHS_OF_ONE_ROW))
    if await search.kills(first, first):
        return None
    await search.look_into(first, stop)
    return search.found if search.deaths_left > 0 or len(search.found) > rows_max else []


class _Search:
    """One search: the rows it has found, and the deaths it may still cost."""

    def __init__(self, survives: Callable[[int, int], Awaitable[bool]], rows_max: int, *, deaths_left: int) -> None:
        self._survives = survives
        self._rows_max = rows_max
        self.deaths_left = deaths_left
        self.found: list[int] = []

    async def kills(self, first: int, stop: int) -> bool:
        if self.deaths_left <= 0 or await self._survives(first, stop):
            return False
        self.deaths_left -= 1
        return True

    async def look_into(self, first: int, stop: int) -> None:
        """Search a range that is known to kill, by a probe or by elimination."""
        if stop - first <= 1:
            if first < stop and await self._kills_every_time(first):
                self.found.append(first)
            return
        middle = (first + stop) // 2
        left_kills = await self.kills(first, middle)
        if left_kills:
            await self.look_into(first, middle)
        if len(self.found) > self._rows_max or self.deaths_left <= 0:
            return
        # If the left half lives, the right half must kill. This saves a death, and a death costs the start of a worker.
        if not left_kills or await self.kills(middle, stop):
            await self.look_into(middle, stop)

    async def _kills_every_time(self, row: int) -> bool:
        for _ in range(DEATHS_OF_ONE_ROW):
            if not await self.kills(row, row + 1):
                return False
        return True
