from .changes import (
    Shown as Shown,
    decide as decide,
    export_dead_letters as export_dead_letters,
    import_dead_letters as import_dead_letters,
    is_purgeable as is_purgeable,
    list_dead_letters as list_dead_letters,
    list_reasons as list_reasons,
    purge as purge,
    read_published_counts as read_published_counts,
    read_recorded_partitions as read_recorded_partitions,
    read_rows as read_rows,
    read_waiting as read_waiting,
    show_dead_letter as show_dead_letter,
    table_of_dead_letter as table_of_dead_letter,
    this_user as this_user,
)
from .refused_values import refused_value as refused_value
from .replay import REPLAYABLE as REPLAYABLE, run_replay as run_replay
