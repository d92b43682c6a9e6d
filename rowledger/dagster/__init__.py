"""The Dagster integration. Only this package and `pipeline.definitions` import dagster.

Kept empty of imports: every Dagster process loads `rowledger.dagster.storage`, and most need nothing else from here.
"""

import warnings

import lazy_loader

# `backfill_policy` has been in beta for years. Each process of a run would warn of it once for every asset.
warnings.filterwarnings("ignore", message=r"Parameter `backfill_policy` .* is currently in beta")
# Dagster itself passes `owners` whenever a sensor is bound to its job.
warnings.filterwarnings("ignore", message=r"Parameter `owners` of initializer `SensorDefinition.* is currently in beta")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
