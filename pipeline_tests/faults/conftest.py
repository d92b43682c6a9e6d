"""What several fault tests share: a proxy in front of the test's database, and settings for a short patience."""

from collections.abc import Iterator

import pytest

from pipeline_tests.faults.proxy import Proxy


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    """A proxy in front of this test's database."""
    with Proxy(database) as proxy:
        yield proxy
