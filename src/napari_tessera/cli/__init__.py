"""The command line `tessera`; this file starts it, and loads next to nothing, so that Ctrl-C ends even its start."""

from __future__ import annotations

import os
import sys

STOPPED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and SIGTERM."""


def script() -> None:
    """Run the typed command, and end the process with its exit code.

    After Ctrl-C it ends at once: Python would wait for threads that are no longer needed, and may crash while it loads
    a library. Only napari closes as usual, because it may have annotations to save.
    """
    try:
        from napari_tessera.cli.main import main
        from napari_tessera.cli.terminal import open_streams

        open_streams()
        code = main()
    except KeyboardInterrupt:  # a second one, or while Python loads
        code = STOPPED
    if code in (STOPPED, TERMINATED) and "napari" not in sys.modules:
        os._exit(code)
    sys.exit(code)
