"""From staged rows to the target: duplicates are set aside, counts reconciled, the partition published, and later verified."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
