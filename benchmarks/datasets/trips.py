"""Row models of taxi-like trips, narrow and wide; worker processes import them, and nothing that makes the rows."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, create_model

from rowledger.contract.sql_types import Integer, varchar

__all__ = ["STOPS", "Trip", "WideTrip"]

STOPS = 9
"""Of a wide trip, at most."""


class Trip(BaseModel):
    """A trip; what the meter did not record is null."""

    trip_id: Annotated[int, Field(ge=1)]
    picked_up_at: AwareDatetime
    distance_km: Annotated[float, Field(ge=0)] | None
    passengers: Annotated[Integer, Field(ge=0, le=9)] | None
    payment: Literal["card", "cash", "free", "dispute"] | None
    fare: float


_STOP_FIELDS: dict[str, Any] = {
    "at": AwareDatetime | None,
    "zone": Annotated[str, varchar(20)] | None,
    "latitude": Annotated[float, Field(ge=-90, le=90)] | None,
    "longitude": Annotated[float, Field(ge=-180, le=180)] | None,
    "toll": Annotated[Decimal, Field(max_digits=8, decimal_places=2)] | None,
    "is_hub": bool | None,
}

WideTrip = create_model(
    "WideTrip",
    __base__=Trip,
    __module__=__name__,
    __doc__="A trip that was booked on some day, and up to nine stops of it, six columns each.",
    booked_on=(date, ...),
    **{f"stop{n}_{name}": (kind, ...) for n in range(1, STOPS + 1) for name, kind in _STOP_FIELDS.items()},
)
