from .duplicates import TooManySetAside as TooManySetAside
from .finish import LoadVerdict as LoadVerdict, find_repeated as find_repeated, finish_load as finish_load
from .finished_load import FinishedLoad as FinishedLoad
from .forget import run_forget as run_forget
from .former_loads import has_long_values as has_long_values
from .verify import PartitionVerification as PartitionVerification, run_verify as run_verify
