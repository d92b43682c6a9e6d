"""Whether a table belongs to the asset that is about to load it."""

from rowledger.dagster.private_names import StepExecutionContext
from rowledger.dagster.table import DagsterTable
from rowledger.errors import LedgerMismatch, LedgerMissing, SpecError
from rowledger.ledger import read_specs

__all__ = ["require_own_table"]


def require_own_table(
    table: DagsterTable, step: StepExecutionContext, url: str, *, is_name_ambiguous: bool = False
) -> None:
    """Raise SpecError where another asset has loaded the table under the same name, and may load it again.

    That is an asset that the code location still has. Where the key of an asset elsewhere makes the same name too
    (`is_name_ambiguous`), as `a__b` and `a/b` do, it is any other asset.
    """
    name, own = table.spec.name, tuple(table.key.path)
    try:
        kept = next((kept for kept in read_specs(url) if kept.table_name == name), None)
    except (LedgerMissing, LedgerMismatch):  # the load makes the ledger or sees to its version
        return
    if kept is None or kept.asset_key is None or kept.asset_key == own:
        return
    other = "/".join(kept.asset_key)
    if _has_asset(step, kept.asset_key):
        raise SpecError(
            f"asset {table.key.to_user_string()}: its table {name} is also the table of asset {other}, which has loaded "
            f"{kept.target}; each would replace the other's rows, so no row was loaded. Give one of them a table of another "
            "name and target"
        )
    if is_name_ambiguous:
        raise SpecError(
            f"its key makes the table name {name}, under which asset {other} has loaded {kept.target}; no row was loaded. "
            f"Give this asset a name by the metadata rowledger/name: another one, or {name} if the other asset is gone"
        )


def _has_asset(step: StepExecutionContext, key: tuple[str, ...]) -> bool:
    """Whether the code location has an asset of that key to materialize; an asset that was renamed has left its key."""
    repository = step.job.get_repository_definition()
    if repository is None:  # a run within one process knows its own assets alone
        return False
    return any(tuple(found.path) == key for found in repository.asset_graph.materializable_asset_keys)
