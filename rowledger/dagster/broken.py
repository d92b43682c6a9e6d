"""A table that cannot be used, as Dagster shows it: its asset and its jobs exist, and fail with the mistake."""

import dagster as dg

__all__ = ["broken_table"]


def broken_table(
    name: str, key: dg.AssetKey, partitions_def: dg.PartitionsDefinition | None, message: str
) -> dg.Definitions:
    """The asset and the jobs that the table would have. Each fails with the message and does nothing else."""

    def failure() -> dg.Failure:
        return dg.Failure(
            f"{name} cannot be used: {message}\nWhat to do: fix the file, then rerun", allow_retries=False
        )

    @dg.asset(
        key=key,
        group_name="tables",
        description=f"Cannot be used. {message}",
        partitions_def=partitions_def,
        backfill_policy=None if partitions_def is None else dg.BackfillPolicy.single_run(),
    )
    def broken() -> None:
        raise failure()

    @dg.op(name=f"{name}_cannot_be_used")
    def fail() -> None:
        raise failure()

    def job(purpose: str) -> dg.JobDefinition:
        @dg.job(name=f"{name}_{purpose}", description=message)
        def failing() -> None:
            fail()

        return failing

    load = dg.define_asset_job(f"{name}_load", selection=dg.AssetSelection.assets(key), description=message)
    return dg.Definitions(assets=[broken], jobs=[load, job("verify"), job("replay")])
