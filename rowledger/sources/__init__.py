"""Sources, one module for each format: a source cuts a partition into chunks, and reads a chunk as often as needed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
