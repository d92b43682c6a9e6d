from .cgroup import (
    available_memory_bytes as available_memory_bytes,
    granted_cpus as granted_cpus,
    read_oom_kills as read_oom_kills,
)
from .disk import require_free_space as require_free_space
from .forks import OwnProcess as OwnProcess
from .host import Host as Host, ProcessIdentity as ProcessIdentity
from .run_folder import spool_folder as spool_folder
from .sockets import guard_socket as guard_socket
from .threads import in_thread as in_thread, iterate_in_thread as iterate_in_thread
