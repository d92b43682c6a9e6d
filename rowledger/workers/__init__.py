"""Guarded child processes that commit chunks, and the supervisor that hands the chunks out and watches them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
