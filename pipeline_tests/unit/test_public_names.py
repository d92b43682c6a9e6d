"""The public names are described where users look for them."""

import re
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", ["rowledger", "rowledger/dagster"])
def test_each_public_name_is_on_the_page_of_the_interface(package: str) -> None:
    stub = (_CHECKOUT / package / "__init__.pyi").read_text(encoding="utf-8")
    public = set(re.findall(r"\b(\w+) as \1\b", stub))
    page = (_CHECKOUT / "docs" / "api.md").read_text(encoding="utf-8")

    assert public
    assert sorted(public - set(re.findall(r"`(\w+)`", page))) == []
