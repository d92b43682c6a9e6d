"""What a table spec's own validation cannot see, since it knows no column types."""

from rowledger.contract.check import Contract
from rowledger.errors import SpecError
from rowledger.spec import TableSpec

__all__ = ["check_spec"]


def check_spec(spec: TableSpec) -> None:
    """See that the spec can be loaded: its row model, its key, and that workers can import it.

    Whether its columns can tell its partitions apart is seen when there are any (`require_partitions`). Raises SpecError and
    ContractError.
    """
    columns = {column.name: column for column in Contract.of(spec.row).columns}
    if nullable := [name for name in spec.key if columns[name].nullable]:
        raise SpecError(f"table {spec.name}: key columns {nullable} may be null; a key's columns must not be")
    spec.as_json()
