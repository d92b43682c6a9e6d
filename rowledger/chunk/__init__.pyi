from .preparation import Refusal as Refusal, prepare_rows as prepare_rows
from .replay_job import ReplayJob as ReplayJob
from .replay_transaction import replay_dead_letters as replay_dead_letters
from .transaction import (
    ChunkJob as ChunkJob,
    SetAside as SetAside,
    commit_chunk as commit_chunk,
    prepare_chunk as prepare_chunk,
)
