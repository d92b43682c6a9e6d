"""Names are looked up while other threads of the process import modules."""

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from pipeline_tests.support.tables_on_servers import SALES
from rowledger.spec.importing import import_path


@pytest.fixture
def modules_that_come() -> Iterator[None]:
    """A module that comes whenever Python looks for garbage, which it does in the middle of any call that allocates."""
    made: list[str] = []

    def come(_phase: str, _info: dict[str, int]) -> None:
        made.append(f"came_{len(made)}")
        sys.modules[made[-1]] = ModuleType(made[-1])

    threshold = gc.get_threshold()
    gc.callbacks.append(come)
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(come)
        for name in made:
            del sys.modules[name]
    assert made


@pytest.mark.usefixtures("modules_that_come")
def test_a_spec_is_written_while_modules_are_imported() -> None:
    assert import_path()
    assert SALES.as_json()
