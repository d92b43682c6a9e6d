"""A table that cannot be used, as Dagster shows it: its asset and its jobs exist, and fail with the mistake."""

from collections.abc import Iterable

import dagster as dg

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

    def failure() -> dg.Failure:
        return dg.Failure(
            f"{name} cannot be used: {message}\nWhat to do: fix the file, then rerun", allow_retries=False
        )

    @dg.multi_asset(
        name=name_of(asset.key),
        specs=[asset],
        backfill_policy=None if partitions_def is None else dg.BackfillPolicy.single_run(),
    )
    def broken() -> None:
        raise failure()

    @dg.op(name=f"{name_of(asset.key)}_cannot_be_used")
    def fail() -> None:
        raise failure()

    def job(purpose: str) -> dg.JobDefinition:
        @dg.job(name=f"{name_of(asset.key)}_{purpose}", description=message)
        def failing() -> None:
            fail()

        return failing

    jobs = [
        dg.define_asset_job(f"{name_of(asset.key)}_load", dg.AssetSelection.assets(asset.key), description=message)
        if purpose == "load"
        else job(purpose)
        for purpose in purposes
    ]
    return dg.Definitions(assets=[broken], jobs=jobs)
