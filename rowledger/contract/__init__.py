"""Contracts: a pydantic row model, compiled into columns and rules that run at column speed, and fingerprints of values.

Reads frames that a source gave, hands good rows to the encoder and refused ones to the dead letters. No I/O.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
