"""Infer a table from a file: its source, its row model and a candidate key, tried on all of the file's rows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
