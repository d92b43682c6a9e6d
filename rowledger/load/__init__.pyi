from .budget_explanation import dead_letters_command as dead_letters_command
from .interrupt import run_interruptible as run_interruptible
from .progress_bar import ProgressBar as ProgressBar, drawing_progress as drawing_progress
from .progress_lines import ProgressLines as ProgressLines
from .read_back import read_rows as read_rows
from .run import run_load as run_load
from .scripted import load as load
from .source_check import SourceSample as SourceSample, check_source as check_source
from .target_check import TargetFindings as TargetFindings, check_target as check_target
