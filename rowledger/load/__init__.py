"""One run: each of its partitions is planned, begun, committed chunk by chunk, finished and published."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
