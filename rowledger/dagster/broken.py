"""A table that cannot be used, as Dagster shows it: its asset and its jobs exist, and fail with the mistake."""

from collections.abc import Iterable

import dagster as dg

from rowledger.dagster.failures import fail
from rowledger.dagster.table import name_of
from rowledger.dagster.translator import AssetAttributes, with_attributes

__all__ = ["broken_table"]


def broken_table(
    name: str,
    partitions_def: dg.PartitionsDefinition | None,
    attributes: AssetAttributes,
    message: str,
    *,
    purposes: Iterable[str],
) -> dg.Definitions:
    """The asset of the table `name`, and its jobs for these purposes. Each fails with the message and does nothing else."""
    described: AssetAttributes = {**attributes, "description": f"Cannot be used. {message}"}
    asset = with_attributes(dg.AssetSpec(name, partitions_def=partitions_def), described)

    told = f"{name} cannot be used: {message}\nWhat to do: fix the file, then rerun"

    @dg.multi_asset(
        name=name_of(asset.key),
        specs=[asset],
        backfill_policy=None if partitions_def is None else dg.BackfillPolicy.single_run(),
    )
    def broken() -> None:
        fail(told)

    @dg.op(name=f"{name_of(asset.key)}_cannot_be_used")
    def cannot_be_used() -> None:
        fail(told)

    def job(purpose: str) -> dg.JobDefinition:
        @dg.job(name=f"{name_of(asset.key)}_{purpose}", description=message)
        def failing() -> None:
            cannot_be_used()

        return failing

    jobs = [
        dg.define_asset_job(f"{name_of(asset.key)}_load", dg.AssetSelection.assets(asset.key), description=message)
        if purpose == "load"
        else job(purpose)
        for purpose in purposes
    ]
    return dg.Definitions(assets=[broken], jobs=jobs)
