from .guards import default_workers as default_workers, workers_in_memory as workers_in_memory
from .incident_recorder import IncidentRecorder as IncidentRecorder
from .messages import Hello as Hello
from .pool import Pool as Pool
from .production import Produced as Produced, Production as Production
from .recursion import require_no_worker as require_no_worker
from .spawn import PRODUCER as PRODUCER, WORKER as WORKER, EarlyProcesses as EarlyProcesses
from .workforce import Activity as Activity
