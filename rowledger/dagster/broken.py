"""A table whose file has a mistake, as Dagster shows it: its asset and its jobs are there, and fail with the mistake."""

import dagster as dg

__all__ = ["broken_asset", "broken_table"]


def broken_table(name: str, message: str) -> dg.Definitions:
    """The asset and the jobs that the table would have; each says what is wrong instead of doing anything."""

    @dg.op(name=f"{name}_cannot_be_used")
    def fail() -> None:
        raise _failure(name, message)

    load = dg.define_asset_job(f"{name}_load", selection=dg.AssetSelection.assets(name), description=message)
    jobs = [_job(f"{name}_{purpose}", fail, message) for purpose in ("verify", "replay")]
    return dg.Definitions(assets=[broken_asset(name, message)], jobs=[load, *jobs])


def broken_asset(name: str, message: str, *, group_name: str = "tables") -> dg.AssetsDefinition:
    """An asset that fails with the message; without partitions, which are not known."""

    @dg.asset(name=name, group_name=group_name, description=f"Cannot be used. {message}")
    def broken() -> None:
        raise _failure(name, message)

    return broken


def _job(name: str, fail: dg.OpDefinition, message: str) -> dg.JobDefinition:
    @dg.job(name=name, description=message)
    def job() -> None:
        fail()

    return job


def _failure(name: str, message: str) -> dg.Failure:
    return dg.Failure(f"{name} cannot be used: {message}\nWhat to do: fix the file, then rerun", allow_retries=False)
