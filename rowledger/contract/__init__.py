"""Contracts: a pydantic row model, compiled into columns and rules that run at column speed, and fingerprints of values.

The contract checks a source's frames, passes good rows to the encoder and refused rows to the dead letters. It does no I/O.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
