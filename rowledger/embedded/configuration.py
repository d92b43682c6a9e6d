"""The embedded server's settings: fixed ones, and sizes that depend on the memory and disk left when the server starts.

PostgreSQL's defaults suit the smallest machine. The sizes follow its manual's advice for a server that shares its machine with
other programs. ARCHITECTURE, "Settings, and why these defaults", says what they gain.
"""

import shutil
from pathlib import Path

from rowledger.machine import available_memory_bytes

__all__ = ["configuration"]

_MIB = 2**20

_CONFIGURATION = """\
# Written at each start of the server; change it in rowledger/embedded/configuration.py.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = {buffers_mib}MB
maintenance_work_mem = {maintenance_mib}MB
max_wal_size = {wal_mib}MB
checkpoint_timeout = 15min
fsync = on
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_checkpoints = off
log_error_verbosity = terse
log_min_error_statement = panic
"""


def configuration(host: str, port: int, *, data_dir: Path) -> str:
    """The text of postgresql.conf for a server whose `data_dir` exists."""
    memory_mib = available_memory_bytes() // _MIB
    disk_mib = shutil.disk_usage(data_dir).free // _MIB
    return _CONFIGURATION.format(
        host=host,
        port=port,
        # A table that fits into a quarter of shared_buffers stays cached; a scan of a larger one writes out each page that it
        # marks. The memory is taken from the machine only when it is used.
        buffers_mib=_clamp(memory_mib // 4, 128, 8_192),
        maintenance_mib=_clamp(memory_mib // 64, 64, 512),  # for each key that is being built at the same time
        # A checkpoint is due at half of max_wal_size. A load that ends before it writes each full page to the WAL once. After
        # a crash the server reads this WAL again: 7 GB in 25 s.
        wal_mib=_clamp(disk_mib // 4, 1_024, 24_576),
    )


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))
