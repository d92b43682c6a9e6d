"""Which connections are cut, and when: drawn from a seed before anything runs, so that both contestants meet the same."""

import random
from dataclasses import dataclass
from enum import StrEnum

WRITER_BYTES_MIN = (
    4_096  # what a session has sent before it counts as a writer's: a login is shorter, a batch is longer
)


class CutKind(StrEnum):
    """How a connection ends; both its halves, to the client and to the server, end the same way."""

    RESET = "reset"  # RST, as of a machine that has been restarted
    CLOSE = "close"  # FIN, as of a peer that has ended in good order


@dataclass(frozen=True, slots=True)
class Cut:
    """Once all clients together have sent `at_bytes`, the connection that sends next is cut and loses what it sends."""

    at_bytes: int
    kind: CutKind


def plan_cuts(seed: int, count: int, bytes_total: int) -> list[Cut]:
    """The cuts of a load that sends so many bytes in all, in the order in which they come; the last one is near the end."""
    draw = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    shares = sorted(draw.uniform(0.05, 0.90) for _ in range(count - 1))
    if count > 0:
        shares.append(draw.uniform(0.92, 0.97))
    return [Cut(int(share * bytes_total), draw.choice(list(CutKind))) for share in shares]
