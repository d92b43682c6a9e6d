"""The engines that can place a run's workers on other hosts, one module an engine. Only that module imports the engine."""

from typing import TYPE_CHECKING

from rowledger.settings import WriterSettings

if TYPE_CHECKING:
    from rowledger.hosts import EarlyHosts, Engine

__all__ = ["early_hosts", "engine_of", "is_elsewhere"]

_ALL = 99


def is_elsewhere(writer: WriterSettings) -> bool:
    """Whether chunks are committed on the hosts of an engine."""
    return writer.engine != "local"


def engine_of(writer: WriterSettings) -> "Engine":
    """The engine of these settings, which is imported; raises MissingExtra."""
    from rowledger.engines.ray import RayEngine  # noqa: PLC0415, few runs use it, and it takes a second to import

    return RayEngine(writer.engine_address)


def early_hosts(writer: WriterSettings) -> "EarlyHosts":
    """The hosts of these settings, whose agents come up while the run begins."""
    from rowledger.hosts import EarlyHosts  # noqa: PLC0415, as above

    return EarlyHosts(lambda: engine_of(writer), writer.hosts or _ALL)
