"""Entry point of the command line `tessera`. Ctrl-C during loading ends it without a traceback."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

STOPPED, TERMINATED = 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 failed, 2 bad arguments, 130 stopped by Ctrl-C, 143 by SIGTERM, 141 if the output pipe was closed.
    """
    from napari_tessera.cli.commands import run

    return run(argv)


def script() -> None:
    """Run the typed command, and end the process with its exit code.

    After Ctrl-C it ends at once: Python would wait for threads that are no longer needed, and may crash while it loads
    a library. Only napari closes as usual, because it may have annotations to save.
    """
    try:
        from napari_tessera.cli.terminal import open_streams

        open_streams()
        code = main()
    except KeyboardInterrupt:  # a second one, or while Python loads
        code = STOPPED
    if code in (STOPPED, TERMINATED) and "napari" not in sys.modules:
        os._exit(code)
    sys.exit(code)
