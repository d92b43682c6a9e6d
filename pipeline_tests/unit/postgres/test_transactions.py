"""The limits of a transaction, as the statements that set them."""

import pytest

from rowledger.postgres.transactions import TransactionLimits
from rowledger.settings import WriterSettings


def test_only_limits_that_are_given_are_set() -> None:
    assert TransactionLimits().statements == ""
    assert TransactionLimits(lock_timeout_s=2.5).statements == "set local lock_timeout = '2500ms'"


@pytest.mark.parametrize(("seconds", "setting"), [(0.0001, "1ms"), (0.0015, "2ms"), (3_600, "3600000ms")])
def test_a_time_is_given_in_milliseconds_and_never_as_0_which_is_no_limit(seconds: float, setting: str) -> None:
    assert TransactionLimits(idle_timeout_s=seconds).statements.endswith(f" = '{setting}'")


def test_those_of_a_run_bound_statements_locks_and_the_idle_client() -> None:
    settings = WriterSettings(statement_timeout_s=20, lock_timeout_s=5)
    limits = TransactionLimits.of(settings, idle_timeout_s=40, durable=False)
    assert limits.statements.split(";") == [
        "set local statement_timeout = '20000ms'",
        "set local lock_timeout = '5000ms'",
        "set local idle_in_transaction_session_timeout = '40000ms'",
        "set local synchronous_commit = off",
    ]
    assert TransactionLimits.of(settings, idle_timeout_s=40, durable=True, lock_timeout_s=1).lock_timeout_s == 1
