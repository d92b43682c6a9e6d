"""Which other assets may load a table too, and what to do about that."""

import dagster as dg

from rowledger.dagster.private_names import StepExecutionContext
from rowledger.ledger import RivalRemedy

__all__ = ["rivals_in_project", "rivals_of_name"]


def rivals_in_project(step: StepExecutionContext) -> RivalRemedy:
    """The assets that the code location still has; one that was renamed has left its key."""

    def remedy(key: tuple[str, ...]) -> str | None:
        repository = step.job.get_repository_definition()
        if repository is None:  # a run within one process knows its own assets alone
            return None
        if dg.AssetKey(key) not in repository.asset_graph.materializable_asset_keys:
            return None
        other = "/".join(key)
        return f"Give one of them a table of another name and target; or, if {other} has another table now, load that first"

    return remedy


def rivals_of_name(step: StepExecutionContext, name: str) -> RivalRemedy:
    """Any other asset, also elsewhere: its key may make the same name of a table, as `a__b` and `a/b` do."""
    in_project = rivals_in_project(step)

    def remedy(key: tuple[str, ...]) -> str:
        return in_project(key) or (
            f"Give this asset a name by the metadata rowledger/name: another one, or {name} if the other asset is gone"
        )

    return remedy
