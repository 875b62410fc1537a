"""What is printed: without characters that do something to a terminal, and also where nothing is there to read it."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from napari_tessera.escaping import visible


def say(text: object = "", *, is_error: bool = False) -> None:
    """Print a text that may hold names and words of an unknown source."""
    stream = sys.stderr if is_error else sys.stdout
    if stream is not None:  # print would take the other one
        print(visible(str(text)), file=stream)


class Parser(argparse.ArgumentParser):
    """A parser whose help fails where it cannot be written; that of Python is silent then."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is None or file is not sys.stdout:
            super()._print_message(message, file)
        else:
            file.write(message)


def refusal(error: OSError) -> str:
    """Return what the system refuses, and of which file; without a file it is what is printed."""
    what = "What there is to say" if error.filename is None else str(error.filename)
    return f"{what} cannot be {'written' if error.filename is None else 'read or written'}: {error.strerror or error}."


def open_streams() -> None:
    """Give the process an output where it was started without one (``2>&-``), and any name a way to be printed.

    Otherwise the first file that is opened gets the number of what is missing, and what C libraries print gets into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the smallest number that is free: this one
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))
    for stream in _streams():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
        with suppress(io.UnsupportedOperation):  # a stream that another program has put there
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _streams() -> list[TextIO]:
    """Return what is printed to; a program without a console has neither on Windows."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
