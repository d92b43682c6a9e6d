"""Rows of a query on another database, PostgreSQL or SQLite, as a source: spooled as they arrive, loaded meanwhile."""

import contextlib
import re
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rowledger.errors import SourceError
from rowledger.sources.spooled_source import SpooledSource
from rowledger.sources.text_ranges import text_range
from rowledger.spec import ChunkDescriptor, Partition, SourceContext

if TYPE_CHECKING:  # who declares a query has none of its rows
    import polars as pl
    import pyarrow as pa

    from rowledger.sources.copy_out import CopyOut
    from rowledger.sources.databases import Database
    from rowledger.sources.sql_reader import DatabaseSession

__all__ = ["SqlQuery"]


class SqlQuery(SpooledSource):
    """The rows of a query, in the query's order; without `order by`, a rerun may have to start from the beginning.

    `{partition_key}`, `{lower}` and `{upper}` in the query are bound as parameters, never inserted as text. The partition's key
    is text; the keys of several dimensions have their own names. The bounds of the partition's window, from `{lower}` on and
    before `{upper}`, are timestamptz in the partition's time zone (PostgreSQL), or text `YYYY-MM-DD HH:MM:SS` in local time
    (SQLite).
    """

    kind: Literal["sql"] = "sql"
    query: str = Field(min_length=1, description="One SELECT.")
    url_variable: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable with the database's URL: postgresql://user:password@host:5432/database, "
        "sqlite:///file in the working directory, or sqlite:////folder/file.",
    )
    columns_max: int = Field(default=1_664, ge=1, le=100_000, description="Columns the query may give.")
    connect_timeout_s: float = Field(default=10, gt=0, le=300, description="Seconds to open the connection.")
    fetch_timeout_s: float = Field(
        default=300, gt=0, le=86_400, description="Seconds to wait for the first rows, and for the next ones each time."
    )
    row_security: bool = Field(
        default=False,
        description="Whether row security policies of a PostgreSQL source may leave rows out; otherwise the query fails there.",
    )

    def chunks(self, partition: Partition, scope: SourceContext) -> Iterator[ChunkDescriptor]:
        from rowledger.sources.copy_out import copy_out_of  # noqa: PLC0415, workers never query
        from rowledger.sources.sql_reader import DatabaseSession  # noqa: PLC0415, as above

        parameters = self._parameters(partition)
        options: dict[str, Any] = {
            "timezone": partition.window.timezone if partition.window else "UTC",
            "connect_timeout_s": self.connect_timeout_s,
            "row_security": self.row_security,
        }
        if (copy := copy_out_of(self.url_variable, **options)) is not None:
            with contextlib.closing(DatabaseSession(copy, self.url_variable)) as copying:
                if (yield from self._copied(copying, parameters, scope)):
                    return
        from rowledger.sources.databases import database_of  # noqa: PLC0415, dear, and most queries need none of it

        database = database_of(self.url_variable, **options, documents=scope.documents)
        with contextlib.closing(DatabaseSession(database, self.url_variable)) as session:
            session.run(database.connect, self.connect_timeout_s, "connecting")
            frames = self._frames(session, parameters)
            yield from self.new_spool(scope).write(frames, origin=self._origin)

    def read(self, descriptor: ChunkDescriptor) -> "pl.DataFrame":
        return super().read(descriptor) if descriptor.text is None else self._of_text(descriptor, {})

    def read_typed(self, descriptor: ChunkDescriptor, types: "Mapping[str, pl.DataType]") -> "pl.DataFrame | None":
        return None if descriptor.text is None else self._of_text(descriptor, types)

    def column_names(self, descriptor: ChunkDescriptor) -> tuple[str, ...]:
        return super().column_names(descriptor) if descriptor.text is None else descriptor.text.columns

    def frame_schema(self, descriptor: ChunkDescriptor) -> "pl.Schema":
        return super().frame_schema(descriptor) if descriptor.text is None else self.read(descriptor).schema

    @staticmethod
    def _of_text(descriptor: ChunkDescriptor, types: "Mapping[str, pl.DataType]") -> "pl.DataFrame":
        from rowledger.sources.copied_text import copied_frame  # noqa: PLC0415, who declares a query has none of its rows

        return copied_frame(text_range(descriptor), descriptor, types)

    def _copied(
        self, session: "DatabaseSession[CopyOut]", parameters: dict[str, str], scope: SourceContext
    ) -> Generator[ChunkDescriptor, None, bool]:
        """The chunks, if a COPY of text gives the rows; returns whether it does."""
        from rowledger.sources.copy_chunks import copy_chunks  # noqa: PLC0415, workers never query

        copy = session.database
        if not session.run(copy.connect, self.connect_timeout_s, "connecting"):
            return False
        execute = partial(copy.execute, self._statement, parameters)
        types = session.run(execute, self.fetch_timeout_s, "executing the query")
        if types is None or len(types) > self.columns_max:
            return False
        blocks = iter(partial(session.run, copy.fetch, self.fetch_timeout_s, "waiting for rows"), None)
        yield from copy_chunks(blocks, types, scope, origin=self._origin)
        return True

    @property
    def _statement(self) -> str:
        return self.query.rstrip().rstrip(";")

    @property
    def _origin(self) -> str:
        return f"query of {self.url_variable}"

    def _frames(
        self, session: "DatabaseSession[Database]", parameters: dict[str, str]
    ) -> "Iterator[pl.DataFrame | pa.Table]":
        execute = partial(session.database.execute, self._statement, parameters)
        names = session.run(execute, self.fetch_timeout_s, "executing the query")
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise SourceError(f"{self.url_variable}: the query gives several columns named {double}; name them apart")
        if len(names) > self.columns_max:
            raise SourceError(
                f"{self.url_variable}: the query gives {len(names)} columns, the limit is {self.columns_max} (columns_max)"
            )
        while (frame := session.run(session.database.fetch, self.fetch_timeout_s, "waiting for rows")) is not None:
            yield frame

    def _parameters(self, partition: Partition) -> dict[str, str]:
        """The values of the placeholders in the query."""
        values = partition.placeholders
        if window := partition.window:
            values |= {"lower": window.lower.isoformat(sep=" "), "upper": window.upper.isoformat(sep=" ")}
        elif bounds := sorted(set(re.findall(r"\{(lower|upper)\}", self.query))):
            raise SourceError(f"the query has {bounds}, but partition {partition.key!r} is not one window of time")
        return {name: value for name, value in values.items() if f"{{{name}}}" in self.query}
