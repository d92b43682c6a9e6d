"""The limits of a transaction, as the statements that set them."""

import pytest

from rowledger.postgres.transactions import lock_timeout, transaction_limits
from rowledger.settings import WriterSettings


@pytest.mark.parametrize(
    ("seconds", "setting"), [(2.5, "2500ms"), (0.0001, "1ms"), (0.0015, "2ms"), (3_600, "3600000ms")]
)
def test_a_time_is_given_in_milliseconds_and_never_as_0_which_is_no_limit(seconds: float, setting: str) -> None:
    assert lock_timeout(seconds) == f"set local lock_timeout = '{setting}'"


def test_those_of_a_run_bound_statements_locks_and_the_idle_client() -> None:
    settings = WriterSettings(statement_timeout_s=20, lock_timeout_s=5)
    assert transaction_limits(settings, idle_timeout_s=40, durable=False).split(";") == [
        "set local statement_timeout = '20000ms'",
        "set local lock_timeout = '5000ms'",
        "set local idle_in_transaction_session_timeout = '40000ms'",
        "set local synchronous_commit = off",
    ]
    durable = transaction_limits(settings, idle_timeout_s=40, durable=True, lock_timeout_s=1)
    assert "set local lock_timeout = '1000ms'" in durable
    assert "synchronous_commit', 'on'" in durable
