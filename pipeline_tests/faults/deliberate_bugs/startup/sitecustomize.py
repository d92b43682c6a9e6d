"""Python imports this at its start where this folder is on its path: it makes the bug that the environment names, if any."""

import os
import sys
import traceback

if name := os.environ.get("DELIBERATE_BUG"):
    try:
        from pipeline_tests.faults.deliberate_bugs.bug import find_bug

        find_bug(name).make()
    except BaseException:  # noqa: BLE001 - Python would go on without the bug
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
