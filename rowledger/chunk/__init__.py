"""A chunk in its worker: prepared from the source, separated from rows that the server refuses, written in one transaction."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
