"""Which of several servers holds a partition. A spec names the environment variables that hold their URLs, never a URL."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rowledger.errors import SpecError, UnknownPartition
from rowledger.spec.partition import Partition
from rowledger.spec.reference import ByReference, reference_of

__all__ = ["ServersByFunction", "ServersByKey"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN_MAX = 20  # keys in an error


def _require_variables(names: list[str]) -> None:
    """Raise SpecError, without the text itself, for a text that cannot name a variable: it may be a URL with a password."""
    if not names:
        raise SpecError(
            "servers: variables names no server; name the environment variables that hold the servers' URLs"
        )
    for number, name in enumerate(names, 1):
        if not _VARIABLE.fullmatch(name):
            raise SpecError(
                f"servers: number {number} of its variables is not the name of an environment variable; a spec is stored in "
                "the ledger, so it names the variable that holds a server's URL, and never the URL"
            )


class _Servers(BaseModel):
    # An error of validation must not quote a URL that was given in place of a variable's name.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ServersByKey(_Servers):
    """Servers by the partition's key: a partition is wholly on the server whose URL the variable of its key holds."""

    variables: dict[str, str] = Field(
        description="The name of the environment variable with the server's URL, by the partition's key, or by that of "
        "`dimension`. Several keys may name one variable."
    )
    dimension: str | None = Field(
        default=None,
        description="The dimension whose key decides, where partition keys have two; otherwise the whole key does.",
    )

    @field_validator("variables")
    @classmethod
    def _named(cls, variables: dict[str, str]) -> dict[str, str]:
        _require_variables([*variables.values()])
        return variables

    @property
    def names(self) -> tuple[str, ...]:
        """The variables, each once."""
        return tuple(dict.fromkeys(self.variables.values()))

    def variable_of(self, partition: Partition) -> str:
        """The variable of the partition's server; raises UnknownPartition and SpecError."""
        key = partition.key
        if self.dimension is not None:
            dimensions = dict(partition.dimensions)
            if self.dimension not in dimensions:
                known = ", ".join(dimensions) or "none"
                raise SpecError(
                    f"servers: partition {key} has no dimension {self.dimension!r}, which decides on its server; it has {known}"
                )
            key = dimensions[self.dimension]
        if (variable := self.variables.get(key)) is None:
            named = [*self.variables]
            shown = f"{', '.join(named[:_SHOWN_MAX])}{', …' if len(named) > _SHOWN_MAX else ''}"
            of = f"{self.dimension} {key!r}" if self.dimension else "it"
            raise UnknownPartition(partition.key, f"servers names no variable for {of}, only for {shown}")
        return variable


class ServersByFunction(_Servers):
    """Servers by a function of the partition, which returns the name of the variable that holds the server's URL.

    Commands such as `rowledger status` ask all servers, so that `variables` names whatever the function may return.
    """

    function: Annotated[Callable[[Partition], str], ByReference("servers.function")]
    variables: tuple[str, ...] = Field(description="All variables that the function may return.")

    @field_validator("variables")
    @classmethod
    def _named(cls, variables: tuple[str, ...]) -> tuple[str, ...]:
        _require_variables([*variables])
        return variables

    @property
    def names(self) -> tuple[str, ...]:
        """The variables, each once."""
        return tuple(dict.fromkeys(self.variables))

    def variable_of(self, partition: Partition) -> str:
        """The variable of the partition's server; raises SpecError for a function that raises, or returns another text."""
        name = reference_of(self.function, "servers.function")
        try:
            found: object = self.function(partition)
        except Exception as error:
            raise SpecError(
                f"servers: {name} raised {type(error).__name__} for partition {partition.key}; it returns the name of a "
                "variable for each partition"
            ) from error
        if not isinstance(found, str) or found not in self.variables:
            # A URL that was returned in place of a variable's name is not quoted.
            told = repr(found) if isinstance(found, str) and _VARIABLE.fullmatch(found) else "something else"
            raise SpecError(
                f"servers: {name} returned {told} for partition {partition.key}, and its variables are "
                f"{', '.join(self.variables)}"
            )
        return found
