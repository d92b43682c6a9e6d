"""What a user declares, and the plan of a load: table spec, source, transform, partition, manifest, chunk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
