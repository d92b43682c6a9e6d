from .definitions import build_table_defs as build_table_defs
from .metadata import failure_of as failure_of
from .resources import GuardedWriter as GuardedWriter
from .run_keys import partition_keys as partition_keys
