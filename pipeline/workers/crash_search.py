"""Find the rows of a chunk that kill whoever takes them, by halving."""

from collections.abc import Awaitable, Callable

__all__ = ["find_crashing_rows"]


async def find_crashing_rows(
    survives: Callable[[int, int], Awaitable[bool]], first: int, stop: int, *, rows_max: int
) -> list[int] | None:
    """Row numbers in [first, stop) that kill a worker, at most `rows_max + 1` of them; empty when no single row does.

    `survives` has a worker try the rows of a range and says whether it lived. The whole range is known to kill; None means
    that even none of its rows does (in reading the chunk, say). A row is named only after it has killed twice, alone: a
    worker may die of something else meanwhile.
    """
    if not await survives(first, first):
        return None
    found: list[int] = []

    async def search(first: int, stop: int) -> None:
        """Look into a range that is known, or bound by elimination, to kill."""
        if stop - first <= 1:
            if first < stop and not await survives(first, stop) and not await survives(first, stop):
                found.append(first)
            return
        middle = (first + stop) // 2
        left_survives = await survives(first, middle)
        if not left_survives:
            await search(first, middle)
        if len(found) > rows_max:
            return
        # Where the left half lives, it must be the right one: a death saved, and a death costs a worker's start.
        if left_survives or not await survives(middle, stop):
            await search(middle, stop)

    await search(first, stop)
    return found
