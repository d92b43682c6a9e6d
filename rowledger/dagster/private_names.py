"""Names that this package uses though Dagster does not export them; read in dagster 1.13.27 and dagster-postgres 0.29.27.

Public functions and base classes take or return these types. `storage` also relies on these private members of
dagster-postgres' base classes: `_event_log_storage` of `DagsterPostgresStorage`; `_engine`, `_store_asset_event`,
`_event_to_row` and `_store_asset_check_evaluation_planned` of `PostgresEventLogStorage`.
`pipeline_tests/unit/test_private_names.py` fails when one of them is gone.
"""

from dagster._check import CheckError
from dagster._config import UserConfigSchema
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.resource_annotation import get_resource_args
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import DagsterEventBatchMetadata
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._serdes import ConfigurableClassData
from dagster.components.resolved.core_models import AssetAttributesModel
from dagster.components.resolved.errors import ResolutionException
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver

__all__ = [
    "AssetAttributesModel",
    "AssetCheckEvaluationTargetMaterializationData",
    "AssetCheckExecutionRecordStatus",
    "CheckError",
    "ConfigurableClassData",
    "DagsterEventBatchMetadata",
    "ResolutionException",
    "StepExecutionContext",
    "TranslationFn",
    "TranslationFnResolver",
    "UnresolvedAssetJobDefinition",
    "UserConfigSchema",
    "get_resource_args",
]
