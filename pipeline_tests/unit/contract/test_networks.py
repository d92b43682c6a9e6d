"""Addresses and networks: the column path makes of each text what pydantic makes of it."""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)  # fmt: skip
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import IPvAnyAddress, IPvAnyInterface, IPvAnyNetwork, TypeAdapter, ValidationError, create_model

from rowledger.contract.check import Contract
from rowledger.contract.inet import network_bytes
from rowledger.contract.read_addresses import addresses_from_text

KINDS = [
    IPv4Address, IPv6Address, IPvAnyAddress, IPv4Interface, IPv6Interface, IPvAnyInterface, IPv4Network, IPv6Network,
    IPvAnyNetwork,
]  # fmt: skip
NEARLY = st.text("0123456789abcdefF:./%", max_size=20) | st.sampled_from(
    [
        "", "::", "::1", "1::", "1:2:3:4:5:6:7::", "::1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "1::2::3", ":::",
        "fe80::1%eth0", "::ffff:1.2.3.4", "01.2.3.4", "256.1.1.1", "1.2.3", " 1.2.3.4", "1.2.3.4\n", "12345::", "0::0",
        "1.2.3.4/33",
        "1.2.3.4/255.255.0.0", "1.2.3.0/24", "10.1.2.3/8", "2001:db8::/32", "2001:db8::1/32",
    ]
)  # fmt: skip
TEXTS = NEARLY | st.ip_addresses().map(str) | st.ip_addresses(v=6).map(lambda address: address.exploded.upper())


def check(annotation: Any, values: list[Any]) -> tuple[dict[int, Any], dict[int, str]]:
    """By row: what was taken, and why the others were not."""
    series = pl.Series("v", values, dtype=pl.String)
    checked = Contract.of(create_model("Row", v=(annotation, ...))).check(pl.DataFrame([series]))
    rows = range(len(values)) if checked.good_rows is None else checked.good_rows
    return dict(zip(rows, checked.good["v"], strict=True)), {
        letter.row_no: letter.reason for letter in checked.rejected
    }


@pytest.mark.parametrize("annotation", KINDS)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=8))
@example(texts=["::ffff:1.2.3.4", "1.2.3.4", "1.2.3.4"])
def test_an_address_is_taken_when_pydantic_takes_it_and_is_the_same_one(annotation: Any, texts: list[str]) -> None:
    taken, refused = check(annotation, texts)

    for row, text in enumerate(texts):
        try:
            wanted = network_bytes(TypeAdapter(annotation).validate_python(text))
        except ValidationError:
            assert row in refused
            continue
        if wanted is None:
            assert "zone" in refused[row]
        else:
            assert taken[row] == wanted


@settings(deadline=None)
@given(texts=st.lists(TEXTS, max_size=20))
def test_what_is_read_at_column_speed_is_what_python_reads(texts: list[str]) -> None:
    for text, found in zip(
        texts, addresses_from_text(pl.Series(texts, dtype=pl.String), v4=True, v6=True), strict=True
    ):
        assert found is None or found == network_bytes(ip_address(text))


def test_every_plain_address_is_read_at_column_speed() -> None:
    texts = [
        "1.2.3.4",
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "::1",
        "1::",
        "1:2:3:4:5:6:7:8",
        "2001:DB8::a:0",
        "1:2:3:4:5:6:7::",
    ]

    assert addresses_from_text(pl.Series(texts), v4=True, v6=True).to_list() == [
        network_bytes(ip_address(text)) for text in texts
    ]
    assert addresses_from_text(pl.Series(texts), v4=True, v6=False).null_count() == len(texts) - 3


def test_the_mask_is_part_of_an_interface() -> None:
    assert network_bytes(ip_interface("10.1.2.3/8")) == bytes((2, 8, 0, 4, 10, 1, 2, 3))
    assert network_bytes(IPv6Network("2001:db8::/32")) == bytes((3, 32, 0, 16, 0x20, 1, 0x0D, 0xB8)) + bytes(12)


@pytest.mark.parametrize("annotation", [IPv4Address, IPvAnyAddress, IPv6Interface, IPvAnyNetwork])
@pytest.mark.parametrize("text", ["a", " ", "value", "zqcanary"])
def test_reasons_are_readable_whatever_letters_the_value_has(annotation: Any, text: str) -> None:
    contract = Contract.of(create_model("Row", v=(annotation, ...)))

    (letter,) = contract.check(pl.DataFrame({"v": [text]})).rejected

    assert "is not a valid IPv" in letter.reason
    assert "…" not in letter.reason
