from .finish import finish_load as finish_load
from .finish_context import FinishContext as FinishContext
from .forget import run_forget as run_forget
from .former_loads import has_long_values as has_long_values
from .repeated import find_repeated as find_repeated
from .too_many_set_aside import TooManySetAside as TooManySetAside
from .verdict import LoadVerdict as LoadVerdict
from .verify import PartitionVerification as PartitionVerification, run_verify as run_verify
from .verify_servers import ServersVerification as ServersVerification, run_verify_servers as run_verify_servers
