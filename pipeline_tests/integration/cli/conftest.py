"""`rowledger …` in this process, on the test's database."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from rowledger.cli.main import cli
from rowledger.settings import settings


@pytest.fixture
def rowledger(database: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `rowledger …`; any exception but an exit is raised."""
    monkeypatch.setenv("ROWLEDGER_DATABASE_URL", database)
    settings.cache_clear()

    def invoke(*arguments: object, answer: str | None = None) -> Result:
        result = CliRunner().invoke(cli, list(map(str, arguments)), input=answer)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke
