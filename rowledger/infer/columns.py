"""The columns of an inferred table."""

from dataclasses import dataclass

__all__ = ["InferredColumn"]


@dataclass(frozen=True, slots=True)
class InferredColumn:
    """One column of the table, and the field of the row model.

    `name` is the field's and the table's, `source_name` the file's. `type` is the short name of the SQL type. `plain` is the
    field's annotation without the `digits` of a numeric (digits in all, decimal places). `default` is the field's default as
    Python text, None if it has none. `comment` says what to know about the column, without a value of a row.
    """

    name: str
    source_name: str
    type: str
    plain: str
    nullable: bool
    digits: tuple[int, int] | None = None
    default: str | None = None
    comment: str = ""

    @property
    def python(self) -> str:
        """The annotation of the field, complete."""
        if self.digits is None:
            return self.plain
        digits, places = self.digits
        number = f"Annotated[Decimal, Field(max_digits={digits}, decimal_places={places})]"
        return f"{number} | None" if self.nullable else number
