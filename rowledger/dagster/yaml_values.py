"""The smaller attributes of a table in YAML: columns, target, limits, the database, retries and backfills."""

# ruff: noqa: ANN401, YAML holds any value

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import Field, TypeAdapter

from rowledger.contract import DeclaredColumn, declared_row
from rowledger.dagster.database import RowledgerDatabase
from rowledger.dagster.resources import GuardedWriter
from rowledger.dagster.yaml_fields import Chosen, OrTemplate, OrText, Shape, mistake_at, resolved, validated, yaml_shape
from rowledger.settings import WriterSettings
from rowledger.spec import DeadLetterBudget, QualifiedName

__all__ = [
    "BackfillPolicyShape",
    "ColumnsShape",
    "DatabaseShape",
    "DeadLettersShape",
    "LimitsShape",
    "RetryPolicyShape",
    "TargetShape",
    "read_backfill_policy",
    "read_columns",
    "read_cron",
    "read_database",
    "read_dead_letters",
    "read_limits",
    "read_retry_policy",
    "read_target",
]

_ENVIRONMENT = re.compile(r"\{\{\s*env(?:\.(?P<name>\w+)|\(\s*['\"](?P<quoted>\w+)['\"]\s*\))\s*\}\}")
_PASSWORD = re.compile(r"://[^/@]*:[^/]*@|[?&]password=")


class _RetryPolicy(Shape):
    """Retries of the step, each of which resumes the load at the first missing chunk."""

    max_retries: Annotated[int, Field(ge=0), OrTemplate()] = Field(
        default=1, description="Retries after the first attempt."
    )
    delay: Annotated[float | None, OrTemplate()] = Field(default=None, description="Seconds before a retry.")
    backoff: Literal["linear", "exponential"] | None = Field(default=None, description="How the delay grows.")
    jitter: Literal["full", "plus_minus"] | None = Field(default=None, description="How the delay is varied.")


class _SingleRun(Shape):
    """A backfill is one run, and its partitions are loaded in one step."""

    type: Literal["single_run"]


class _MultiRun(Shape):
    """A backfill is several runs."""

    type: Literal["multi_run"]
    max_partitions_per_run: Annotated[int, Field(ge=1), OrTemplate()] = Field(
        default=1, description="Partitions that one run loads."
    )


class _Database(Shape):
    """The database that holds the table, by its URL or by its parts; `{{ env.NAME }}` stays unread until the run."""

    url: str | None = Field(
        default=None, description="{{ env.NAME }}, a variable that holds the URL with its password."
    )
    host: str | None = Field(default=None, description="Name or address of the server, or the folder of its socket.")
    port: Annotated[int | None, Field(ge=1, le=65_535), OrTemplate()] = Field(
        default=None, description="The server's port."
    )
    user: str | None = Field(default=None, description="The role that loads.")
    password: str | None = Field(default=None, description="{{ env.NAME }}, a variable that holds the role's password.")
    database: str | None = Field(default=None, description="The database's name.")
    sslmode: str | None = Field(
        default=None, description="As in libpq: disable, allow, prefer, require, verify-ca or verify-full."
    )


_TYPE_ALONE = TypeAdapter(DeclaredColumn).json_schema()["properties"]["type"]
_Column: Any = Annotated[yaml_shape("Column", DeclaredColumn), OrText(lambda text: {"type": text}, _TYPE_ALONE)]
ColumnsShape: Any = Annotated[dict[str, _Column], OrTemplate()]
TargetShape: Any = Annotated[yaml_shape("Target", QualifiedName), OrText()]
DeadLettersShape: Any = Annotated[yaml_shape("DeadLetters", DeadLetterBudget), OrTemplate()]
LimitsShape: Any = Annotated[yaml_shape("Limits", WriterSettings), OrTemplate()]
DatabaseShape: Any = Annotated[_Database, OrText()]
RetryPolicyShape: Any = Annotated[_RetryPolicy, OrTemplate()]
BackfillPolicyShape: Any = Annotated[
    dict[str, Any], Chosen("type", {"single_run": _SingleRun, "multi_run": _MultiRun}), OrTemplate()
]


def read_columns(context: dg.ResolutionContext, value: Any) -> dict[str, DeclaredColumn] | None:
    """The columns of a resolved value; each is tried alone, so that a mistake is told with its line."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise mistake_at(context, "columns must name each column with its type, as in {id: bigint, note: text}")
    columns: dict[str, DeclaredColumn] = {}
    for name, part in value.items():
        within = context.at_path(name)
        columns[name] = validated(within, DeclaredColumn, {"type": part} if isinstance(part, str) else part)
        try:
            declared_row("columns", {name: columns[name]})
        except ValueError as error:
            raise mistake_at(within, str(error).rpartition(f"column {name}: ")[2]) from None
    return columns


def read_cron(_context: dg.ResolutionContext, value: Any) -> Any:
    """A cron schedule, or a value that is no text; raises ValueError."""
    if isinstance(value, str):
        try:
            dg.ScheduleDefinition(name="read", job_name="read", cron_schedule=value)
        except dg.DagsterInvalidDefinitionError:
            raise ValueError(f"{value!r} is no cron schedule; it has five fields, as in 0 6 * * *") from None
    return value


def read_target(context: dg.ResolutionContext, value: Any) -> str | QualifiedName | None:
    """Schema and name of the table, or both in one text."""
    if value is None or isinstance(value, str | QualifiedName):
        return value
    found: QualifiedName = validated(context, QualifiedName, value)
    return found


def read_dead_letters(context: dg.ResolutionContext, value: Any) -> DeadLetterBudget | None:
    """The budget of a resolved value."""
    found: DeadLetterBudget | None = validated(context, DeadLetterBudget | None, value)
    return found


def read_limits(context: dg.ResolutionContext, value: Any) -> GuardedWriter | None:
    """The writer with these settings; the resource checks them together."""
    if value is None or isinstance(value, GuardedWriter):
        return value
    return GuardedWriter(**validated(context, WriterSettings, value).model_dump(exclude_unset=True))


def read_database(context: dg.ResolutionContext, value: Any) -> RowledgerDatabase | str | None:
    """The key of a resource, or a resource of its own. The value is not resolved yet.

    `{{ env.NAME }}` becomes `dg.EnvVar`: Dagster shows a resource's config, so no secret may be in it.
    """
    if value is None or isinstance(value, RowledgerDatabase):
        return value
    if isinstance(value, str):
        return str(resolved(context, value))
    fields: dict[str, Any] = {}
    for name in value.model_fields_set:
        text, within = getattr(value, name), context.at_path(name)
        if isinstance(text, str) and (found := _ENVIRONMENT.fullmatch(text.strip())) is not None:
            variable = found["name"] or found["quoted"]
            fields[name] = dg.EnvVar.int(variable) if name == "port" else dg.EnvVar(variable)
            continue
        fields[name] = resolved(within, text)
        if name == "password" or (name == "url" and _PASSWORD.search(str(fields[name]))):
            raise mistake_at(within, "Dagster shows it in its UI; write {{ env.NAME }}, a variable that holds it")
    return RowledgerDatabase(**fields)


def read_retry_policy(context: dg.ResolutionContext, value: Any) -> dg.RetryPolicy | None:
    """The retry policy of a resolved value."""
    if value is None or isinstance(value, dg.RetryPolicy):
        return value
    found = validated(context, _RetryPolicy, value)
    return dg.RetryPolicy(
        max_retries=found.max_retries,
        delay=found.delay,
        backoff=dg.Backoff[found.backoff.upper()] if found.backoff else None,
        jitter=dg.Jitter[found.jitter.upper()] if found.jitter else None,
    )


def read_backfill_policy(context: dg.ResolutionContext, value: Any) -> dg.BackfillPolicy | None:
    """The backfill policy of a resolved value."""
    if value is None or isinstance(value, dg.BackfillPolicy):
        return value
    found = validated(context, _SingleRun | _MultiRun, value)
    if isinstance(found, _SingleRun):
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(found.max_partitions_per_run)
