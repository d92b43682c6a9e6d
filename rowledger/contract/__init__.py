"""Contracts: a pydantic row model, compiled into columns and rules that run at column speed, and fingerprints of values.

Reads frames that a source gave, hands good rows to the encoder and refused ones to the dead letters. No I/O.
"""
