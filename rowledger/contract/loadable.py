"""Checks of a table spec that its own validation, which knows no column types, cannot make."""

from rowledger.contract.check import Contract
from rowledger.errors import SpecError
from rowledger.spec import TableSpec

__all__ = ["check_spec"]


def check_spec(spec: TableSpec) -> None:
    """Check that the spec can be loaded: its row model, its key, and that workers can import it.

    `require_partitions` checks later whether the columns can distinguish the partitions. Raises SpecError and ContractError.
    """
    contract = Contract.of(spec.row)
    columns = {column.name: column for column in contract.columns}
    if nullable := [name for name in spec.key if columns[name].nullable]:
        raise SpecError(f"table {spec.name}: key columns {nullable} may be null; a key's columns must not be")
    if spec.source.number_format is not None:
        from rowledger.contract.written_numbers import require_columns_of_numbers  # noqa: PLC0415, few sources have any

        require_columns_of_numbers(contract.name, contract.rules)
    if spec.source.date_notations:
        from rowledger.contract.written_dates import require_columns_of_dates  # noqa: PLC0415, few sources have any

        require_columns_of_dates(contract.name, contract.rules)
    spec.as_json()
