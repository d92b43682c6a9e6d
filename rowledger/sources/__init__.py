"""Sources: one module a format; each cuts a partition into chunks and reads a chunk again as often as asked."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
