from .interrupt import run_interruptible as run_interruptible
from .run import run_load as run_load
from .scripted import load as load
