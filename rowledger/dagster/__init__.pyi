from .assets import table_asset as table_asset
from .broken import broken_asset as broken_asset, broken_table as broken_table
from .checks import verify_check as verify_check
from .jobs import jobs_and_schedule as jobs_and_schedule
from .metadata import failure_of as failure_of
from .partitions import partition_keys as partition_keys, partitions_definition as partitions_definition
from .replay import replay_job_and_sensor as replay_job_and_sensor
from .resources import GuardedWriter as GuardedWriter
