from .jobs import ChunkJob as ChunkJob, Job as Job, PlanJob as PlanJob, ReplayJob as ReplayJob
from .planning import ComingColumns as ComingColumns, plan_partition as plan_partition
from .preparation import prepare_rows as prepare_rows
from .replay_transaction import replay_dead_letters as replay_dead_letters
from .transaction import commit_chunk as commit_chunk, prepare_chunk as prepare_chunk
