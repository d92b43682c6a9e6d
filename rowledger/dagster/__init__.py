"""The Dagster integration. Only this package and `pipeline.definitions` import dagster.

It imports nothing of its own until a name is used: every Dagster process loads `rowledger.dagster.storage`, and most need
nothing else from here. Where Dagster is not installed, importing it raises MissingExtra.
"""

import warnings

import lazy_loader

from rowledger.extras import missing_extra
from rowledger.version import version

try:
    from dagster_shared.libraries import DagsterLibraryRegistry
except ModuleNotFoundError:
    raise missing_extra("dagster") from None

# `backfill_policy` has been in beta for years. Each process of a run would warn of it once for every asset.
warnings.filterwarnings("ignore", message=r"Parameter `backfill_policy` .* is currently in beta")
# Partitions of checks are a preview in Dagster; where it has none, a table's checks have none either.
warnings.filterwarnings("ignore", message=r"Specifying a partitions_def on an AssetCheckSpec is currently in preview")
# Dagster itself passes `execution_type` whenever it makes the checks of an asset's step again.
warnings.filterwarnings(
    "ignore", message=r"Parameter `execution_type` of function `AssetsDefinition.* is currently in beta"
)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# Dagster's code servers tell the libraries and versions that a code location uses.
DagsterLibraryRegistry.register("rowledger", version(), is_dagster_package=False)
