"""The nouns of the domain: pure data, no I/O, no dagster.

Everything above (sources, contracts, the database, workers, operations) speaks in these types.
"""
