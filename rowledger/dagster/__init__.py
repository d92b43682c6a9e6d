"""The Dagster face: the only package of the library that imports dagster.

Kept empty of imports: every Dagster process loads `rowledger.dagster.storage`, and most need nothing else from here.
"""

import warnings

import lazy_loader

# `backfill_policy` has been marked beta for years; each process of a run would say so once for every asset.
warnings.filterwarnings("ignore", message=r"Parameter `backfill_policy` .* is currently in beta")
# Dagster itself passes it on whenever a sensor is bound to its job.
warnings.filterwarnings("ignore", message=r"Parameter `owners` of initializer `SensorDefinition.* is currently in beta")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
