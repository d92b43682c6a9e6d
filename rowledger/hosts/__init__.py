"""Workers on other hosts: an agent there, which is a supervisor with its own pool, and the pool of the run over all of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
