"""When a transaction is tried again: allow-listed errors only, exponential waits with jitter, an end after a budget."""

from collections.abc import Callable

import asyncpg
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_delay, wait_random_exponential

from pipeline.errors import DatabaseUnavailable
from pipeline.postgres.sqlstate import Verdict, is_connection_loss, sort_error
from pipeline.settings import WriterSettings

__all__ = ["may_retry", "retrying", "root_cause"]


def root_cause(error: BaseException) -> BaseException:
    """The driver's error behind our own, where there is one."""
    return error.__cause__ if isinstance(error, DatabaseUnavailable) and error.__cause__ else error


def may_retry(error: BaseException) -> bool:
    """Whether the same transaction may succeed later. CancelledError is not among them: it must end the work at once."""
    cause = root_cause(error)
    return is_connection_loss(cause) or sort_error(cause) is Verdict.RETRY


def retrying(
    settings: WriterSettings,
    *,
    on_retry: Callable[[BaseException], None] | None = None,
    retry_on: type[asyncpg.PostgresError] | None = None,
) -> AsyncRetrying:
    """The retry policy of these settings, for every error that may pass, or for one kind of them."""

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if on_retry is not None and error is not None:
            on_retry(error)

    return AsyncRetrying(
        retry=retry_if_exception(may_retry if retry_on is None else lambda error: isinstance(error, retry_on)),
        wait=wait_random_exponential(multiplier=settings.retry_initial_s, max=settings.retry_max_s),
        stop=stop_after_delay(settings.retry_budget_s),
        before_sleep=before_sleep,
        reraise=True,
    )
