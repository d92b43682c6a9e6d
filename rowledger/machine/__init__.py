"""What the machine grants the process: CPUs and memory of its cgroup, free disk space, threads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
