from .crash_search import (
    A_ROW_MAY_DO_IT as A_ROW_MAY_DO_IT,
    DEATHS_OF_ONE_ROW as DEATHS_OF_ONE_ROW,
    find_crashing_rows as find_crashing_rows,
)
from .guards import default_workers as default_workers, workers_in_memory as workers_in_memory
from .handle import WorkerDied as WorkerDied, WorkerHandle as WorkerHandle
from .messages import Hello as Hello
from .recursion import require_no_worker as require_no_worker
from .supervisor import Supervisor as Supervisor
