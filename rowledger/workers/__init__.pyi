from .child_process import LogSink as LogSink
from .guards import default_workers as default_workers, workers_in_memory as workers_in_memory
from .incident_recorder import IncidentRecorder as IncidentRecorder
from .job_queue import JobQueue as JobQueue
from .load_pool import LoadPool as LoadPool
from .messages import Hello as Hello, LogLine as LogLine, Message as Message
from .pool import Pool as Pool
from .production import Produced as Produced, Production as Production
from .recursion import require_no_worker as require_no_worker
from .spawn import PRODUCER as PRODUCER, WORKER as WORKER, EarlyProcesses as EarlyProcesses
from .workforce import Activity as Activity, WorkerAtWork as WorkerAtWork, incident_at as incident_at
