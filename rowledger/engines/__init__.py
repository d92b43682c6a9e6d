"""The engines that can place a run's workers on other hosts, one module an engine. Only that module imports the engine."""

from rowledger.hosts import Engine
from rowledger.settings import WriterSettings

__all__ = ["engine_of"]


def engine_of(writer: WriterSettings) -> Engine | None:
    """The engine of these settings; None where all workers are on this machine. Raises MissingExtra."""
    if writer.engine == "local":
        return None
    from rowledger.engines.ray import RayEngine  # noqa: PLC0415, few runs use it, and it takes a second to import

    return RayEngine(writer.engine_address)
