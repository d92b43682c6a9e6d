"""A load as a user's script makes it, which marks its moments: `python -m benchmarks.scale.traced_load TARGET LANDING`.

It imports nothing but what such a script does, when such a script does it: the functions are watched once they are imported.
"""

import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from benchmarks.scale.marks import mark

# What the moments are called, by module and function.
_WATCHED = {
    "rowledger.workers.spawn": {"spawn": "starts a worker"},
    "rowledger.load.run_partitions": {"check_before_loading": "preflight"},
    "rowledger.load.partition_load": {
        "PartitionLoad._plan": "plan",
        "PartitionLoad._begin": "begin",
        "finish_load": "finish",
    },
    "rowledger.workers.handle": {"WorkerHandle.attempt": "job"},
    "rowledger.publish.finish": {"reconcile": "reconcile", "publish_rows": "publish"},
    "rowledger.workers.pool": {"Pool.__aexit__": "end of the workers"},
}


class _Watch(MetaPathFinder):
    """Has a watched module's functions marked as soon as it is imported."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - as the import system calls it
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname not in _WATCHED or fullname in self._seen:
            return None
        self._seen.add(fullname)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None  # noqa: S101 - it is ours
        assert spec.loader is not None  # noqa: S101
        execute = spec.loader.exec_module

        def exec_and_watch(module: ModuleType) -> None:
            execute(module)
            for name, label in _WATCHED[fullname].items():
                owner, _, attribute = name.rpartition(".")
                _mark_calls(getattr(module, owner) if owner else module, attribute, label)

        spec.loader.exec_module = exec_and_watch  # type: ignore[method-assign]
        return spec


def _mark_calls(owner: Any, attribute: str, label: str) -> None:  # noqa: ANN401 - a module or a class
    call: Callable[..., Any] = getattr(owner, attribute)

    @functools.wraps(call)
    def marked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - stands in for any function
        mark(f"{label}: begins")
        try:
            return call(*args, **kwargs)
        finally:
            mark(f"{label}: ends")

    @functools.wraps(call)
    async def awaited(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - stands in for any function
        mark(f"{label}: begins")
        try:
            return await call(*args, **kwargs)
        finally:
            mark(f"{label}: ends")

    setattr(owner, attribute, awaited if inspect.iscoroutinefunction(call) else marked)


if __name__ == "__main__":
    mark("script: begins")
    sys.meta_path.insert(0, _Watch())
    import rowledger
    from benchmarks.datasets.lineitem import LINEITEM, Lineitem

    _SPEC = rowledger.TableSpec(name="lineitem", target=sys.argv[1], row=Lineitem, source=LINEITEM.source)
    mark("table: declared")
    rowledger.load(_SPEC, landing_dir=sys.argv[2])
    mark("script: ends")
