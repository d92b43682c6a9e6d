"""A host: what it is called, and which numbers there are."""

import socket

import pytest

from rowledger.ledger.loads import Holder
from rowledger.ledger.outcomes import IncidentKind
from rowledger.ledger.reports import Incident
from rowledger.machine import Host, ProcessIdentity


def test_a_machine_goes_by_the_name_that_the_system_has() -> None:
    assert Host.this() == Host(socket.gethostname(), 0)


@pytest.mark.parametrize(("given", "name"), [("node-3.example", "node-3.example"), (" rack 7 ", "rack 7")])
def test_a_machine_goes_by_the_name_that_its_environment_gives_it(
    monkeypatch: pytest.MonkeyPatch, given: str, name: str
) -> None:
    monkeypatch.setenv("ROWLEDGER_HOST_NAME", given)
    assert Host.this() == Host(name)
    assert ProcessIdentity.this().host == name
    assert Holder.this_process().host == Host(name)
    assert Incident.of_run(IncidentKind.FREE_DISK, "too little").host == name


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_name_counts_as_none(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    monkeypatch.setenv("ROWLEDGER_HOST_NAME", empty)
    assert Host.this().name == socket.gethostname()


def test_a_name_that_is_not_utf_8_is_one_that_the_ledger_can_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWLEDGER_HOST_NAME", b"gr\xfcn".decode(errors="surrogateescape"))
    assert Host.this().name == "gr\\udcfcn"


@pytest.mark.parametrize("number", [-1, 100])
def test_a_number_of_more_than_two_digits_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"a host's number is 0 to 99, not {number}"):
        Host("node", number)
