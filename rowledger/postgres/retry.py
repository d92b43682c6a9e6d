"""When a transaction is retried: for allow-listed errors only, after exponential waits with jitter, within a budget."""

from collections.abc import Awaitable, Callable
from time import monotonic

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from rowledger.errors import DatabaseUnavailable
from rowledger.postgres.sqlstate import ErrorAction, is_connection_loss, sort_error
from rowledger.settings import WriterSettings

__all__ = ["is_connection_lost", "may_retry", "retrying", "root_cause"]


def root_cause(error: BaseException) -> BaseException:
    """The driver's error that caused a DatabaseUnavailable; any other error itself."""
    return error.__cause__ if isinstance(error, DatabaseUnavailable) and error.__cause__ else error


def is_connection_lost(error: BaseException) -> bool:
    """Whether the connection, and not only this statement, has failed or could not be opened."""
    return is_connection_loss(root_cause(error))


def may_retry(error: BaseException) -> bool:
    """Whether the same transaction may succeed later. False for CancelledError, which must end the work at once."""
    cause = root_cause(error)
    return is_connection_loss(cause) or sort_error(cause) is ErrorAction.RETRY


def retrying(
    settings: WriterSettings,
    *,
    on_retry: Callable[[BaseException], Awaitable[None] | None] | None = None,
    retry_if: Callable[[BaseException], bool] = may_retry,
    paused_s: Callable[[], float] = lambda: 0.0,
) -> AsyncRetrying:
    """The retry policy of these settings for the errors that `retry_if` allows.

    `on_retry` is called, and awaited, before each new attempt; an error that it raises ends the retrying. `paused_s` returns
    how long the run has been paused so far for reasons that are not charged to the budget.
    """
    # On the clock without pauses. Time before the first failure is not charged to the budget.
    failed_at_s: float | None = None

    async def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if on_retry is not None and error is not None and (waiting := on_retry(error)) is not None:
            await waiting

    def budget_spent(state: RetryCallState) -> bool:
        nonlocal failed_at_s
        now_s = monotonic() - paused_s()
        if state.attempt_number == 1 or failed_at_s is None:
            failed_at_s = now_s
            return False  # always retry once: an hour's work is not given up for one lost connection
        return now_s - failed_at_s >= settings.retry_budget_s

    return AsyncRetrying(
        retry=retry_if_exception(retry_if),
        wait=wait_random_exponential(multiplier=settings.retry_initial_s, max=settings.retry_max_s),
        stop=budget_spent,
        before_sleep=before_sleep,
        reraise=True,
    )
