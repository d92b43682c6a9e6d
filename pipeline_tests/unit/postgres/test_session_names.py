"""Session names: short enough for the server, and each with its run."""

from typing import get_args

import pytest

from rowledger.machine import Host
from rowledger.postgres.session_names import SessionRole, role_and_pid, session_name

_RUN = "0123456789abcdef" * 2
_PIDS = (None, 1, 32_768, 4_194_304)  # the kernel's largest is 2^22
_ROLES: tuple[SessionRole, ...] = get_args(SessionRole)


@pytest.mark.parametrize("host_no", range(Host.NUMBER_MAX + 1))
@pytest.mark.parametrize("role", _ROLES)
def test_a_name_has_at_most_the_63_bytes_that_the_server_keeps_and_ends_in_its_run(
    role: SessionRole, host_no: int
) -> None:
    for pid in _PIDS:
        if role == "control" and host_no and pid is not None:
            continue  # a supervisor has no pid in its name
        name = session_name(role, _RUN, pid=pid, host_no=host_no)
        assert len(name.encode()) <= 63
        assert name.endswith(f" of {_RUN}")


def test_a_worker_on_another_host_has_its_host_s_number_before_its_pid() -> None:
    assert session_name("worker", _RUN, pid=4_194_304, host_no=12) == f"rowledger worker 12.4194304 of {_RUN}"
    assert session_name("worker", _RUN, pid=4711) == f"rowledger worker 4711 of {_RUN}"


def test_a_supervisor_on_another_host_has_its_host_s_number() -> None:
    assert session_name("control", _RUN, host_no=12) == f"rowledger control 12 of {_RUN}"
    assert session_name("control", _RUN) == f"rowledger control of {_RUN}"


def test_a_name_that_the_server_would_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="is longer than 63 bytes"):
        session_name("worker", _RUN, pid=10_000_000, host_no=12)


@pytest.mark.parametrize("ending", ["", " - 10.0.0.7:51514"])
def test_a_name_says_whose_it_is(ending: str) -> None:
    assert role_and_pid(session_name("worker", _RUN, pid=4_194_304, host_no=12) + ending) == ("worker", 4_194_304)
    assert role_and_pid(session_name("control", _RUN, host_no=7) + ending) == ("control", None)
