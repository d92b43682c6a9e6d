from .component import RowledgerTableComponent as RowledgerTableComponent
from .database import RowledgerDatabase as RowledgerDatabase
from .definitions import build_table_defs as build_table_defs
from .failures import errors_as_failures as errors_as_failures
from .io_manager import RowledgerIOManager as RowledgerIOManager
from .resources import GuardedWriter as GuardedWriter
from .returned_rows import rowledger_asset as rowledger_asset
from .run_keys import partition_keys as partition_keys
from .translator import (
    RowledgerTranslator as RowledgerTranslator,
    RowledgerTranslatorData as RowledgerTranslatorData,
)
