"""Guarded child processes that commit chunks and replay dead letters, and the pool that assigns the work and watches them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
