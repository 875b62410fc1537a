"""What to do where nobody reads the output any more, as in `tessera methods | head -1`."""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO


def flush() -> None:
    """Write out what is printed: where nobody reads it that fails now, and not when Python has ended."""
    for stream in _streams():
        stream.flush()


def nobody_reads(error: OSError) -> bool:
    """Say whether an error is that of printing into a pipe that the other end has closed; Windows has its own."""
    is_of_windows = os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or is_of_windows


def print_nowhere() -> None:
    """Let go of all that is still to be printed, which Python would otherwise try, and complain of, when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in _streams():
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _streams() -> list[TextIO]:
    """Return what is printed to; a program without a console has neither on Windows."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
