"""The ledger, the single source of truth: states, counts and reports, and the functions that read and write them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
