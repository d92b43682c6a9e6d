"""Which of several servers a partition is on: what a spec may say, and what is said of mistakes."""

import pytest
from pydantic import ValidationError

from pipeline_tests.support.partitions import partition_of
from pipeline_tests.support.tables_on_servers import EU, SALES, SALES_BY_FUNCTION, US
from rowledger.errors import SpecError, UnknownPartition
from rowledger.postgres.server_url import address
from rowledger.postgres.target_servers import by_server, servers_of
from rowledger.spec.partition import Partition
from rowledger.spec.servers import ServersByFunction, ServersByKey
from rowledger.spec.table import TableSpec, WriteMode

_URL = "postgresql://loader:hidden@db.example.com/shop"


@pytest.mark.parametrize("spec", [SALES, SALES_BY_FUNCTION])
def test_servers_come_back_from_json(spec: TableSpec) -> None:
    assert TableSpec.from_json(spec.as_json()) == spec


def test_a_dimension_says_where_a_partition_of_two_is() -> None:
    servers = ServersByKey(variables={"eu": EU, "us": US}, dimension="region")
    partition = Partition("2024-03-01|us", dimensions=(("day", "2024-03-01"), ("region", "us")))
    assert servers.variable_of(partition) == US
    with pytest.raises(UnknownPartition, match="no variable for region 'mars', only for eu, us"):
        servers.variable_of(Partition("2024-03-01|mars", dimensions=(("day", "2024-03-01"), ("region", "mars"))))
    with pytest.raises(SpecError, match="no dimension 'region', which decides on its server; it has none"):
        servers.variable_of(Partition("us"))


def test_a_dimension_that_partitions_cannot_have_is_refused() -> None:
    servers = ServersByKey(variables={"eu": EU}, dimension="country")
    fields = {name: getattr(SALES, name) for name in TableSpec.model_fields}
    with pytest.raises(ValidationError, match="dimension 'country', and partition_by names no dimensions"):
        TableSpec.model_validate({**fields, "servers": servers})
    appended = {**fields, "servers": servers, "write_mode": WriteMode.APPEND}
    assert TableSpec.model_validate(appended).servers == servers  # a key may have dimensions that no column holds


@pytest.mark.parametrize("given", [{"variables": {"eu": _URL}}, {"variables": {"eu": ""}}, {"variables": {}}])
def test_a_url_in_place_of_a_variable_is_refused_and_not_quoted(given: dict[str, dict[str, str]]) -> None:
    fields = {name: getattr(SALES, name) for name in TableSpec.model_fields}
    for make in (
        lambda: ServersByKey.model_validate(given),
        lambda: TableSpec.model_validate({**fields, "servers": {"class": "key", **given}}),
        lambda: ServersByFunction(function=len, variables=tuple(given["variables"].values())),
    ):
        with pytest.raises(ValidationError, match="environment variable") as refused:
            make()
        assert "hidden" not in str(refused.value)


def test_a_url_that_a_function_returns_is_not_quoted() -> None:
    servers = ServersByFunction(function=_returns_a_url, variables=(EU,))
    with pytest.raises(SpecError, match="returned something else for partition eu") as refused:
        servers.variable_of(Partition("eu"))
    assert "hidden" not in str(refused.value)


def _returns_a_url(_partition: Partition) -> str:
    return _URL


def test_a_lambda_cannot_say_where_partitions_are() -> None:
    by_lambda = ServersByFunction(function=lambda _partition: EU, variables=(EU,))
    with pytest.raises(SpecError, match=r"servers\.function is a lambda"):
        SALES.model_copy(update={"servers": by_lambda}).as_json()


def test_variables_with_one_url_are_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EU, _URL)
    monkeypatch.setenv(US, _URL)
    assert [str(server) for server in servers_of(SALES)] == [f"{EU} (db.example.com/shop)"]
    partitions = [partition_of(SALES, key) for key in ("us", "eu")]
    assert [[*placed] for placed in by_server(SALES, partitions).values()] == [partitions]
    monkeypatch.delenv(US)
    monkeypatch.delenv(EU)
    assert [str(server) for server in servers_of(SALES)] == [f"{EU} (not set)", f"{US} (not set)"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://loader:hidden@db.example.com:5433/shop?sslmode=require", "db.example.com:5433/shop"),
        ("postgresql://loader:hidden@/shop?host=/run/postgres&port=5433", "/run/postgres:5433/shop"),
        ("postgresql://loader:hidden@[::1]/shop", "[::1]/shop"),
        ("postgresql://loader:12/hidden@db/shop", "an address that may hold a part of a password"),
        ("postgresql://loader:hid#den@db/shop", "not a URL"),
        ("hidden", "not a URL"),
    ],
)
def test_an_address_holds_no_secret(url: str, told: str) -> None:
    assert address(url) == told
