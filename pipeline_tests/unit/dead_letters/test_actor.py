"""Who is recorded for a change of dead letters."""

import getpass
import os
import socket

import pytest

from rowledger.dead_letters.changes import this_user


def test_a_user_without_a_name_is_recorded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)

    assert this_user("a note").name == f"uid {os.getuid()}@{socket.gethostname()}"
