"""Terminal output (safe text, progress bar, closed pipes), and clean ends on Ctrl-C and SIGTERM."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from napari_tessera.core.errors import INFO, LOGGER, WARNING, visible
from napari_tessera.core.jobs import Progress

BAR = "{desc}: {percentage:3.0f}%|{bar:30}| {elapsed} {postfix}"


@contextmanager
def progress_bar(title: str, *, is_quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on stderr, if that is a terminal."""
    from tqdm import tqdm

    hidden = is_quiet or sys.stderr is None or not sys.stderr.isatty()
    with tqdm(total=1.0, desc=visible(title), bar_format=BAR, disable=hidden, leave=False, file=sys.stderr) as bar:

        def show(progress: Progress) -> None:
            bar.set_postfix_str(progress.text, refresh=False)
            bar.update(progress.fraction - bar.n)

        yield show


class Telling(logging.Handler):
    """Prints Tessera's log messages; those of level INFO only on a terminal."""

    def __init__(self) -> None:
        super().__init__(INFO if sys.stderr is not None and sys.stderr.isatty() else WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line above the bar."""
        from tqdm import tqdm

        tqdm.write(visible(f"tessera: {record.getMessage()}"), file=sys.stderr)


@contextmanager
def telling() -> Iterator[None]:
    """Print Tessera's log messages meanwhile."""
    handler, before = Telling(), LOGGER.level
    LOGGER.setLevel(handler.level)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)


Shown = Callable[[Progress], None]


class Terminated(KeyboardInterrupt):
    """SIGTERM stops a run as Ctrl-C does."""


STOPS = {signal.SIGINT: (signal.default_int_handler, KeyboardInterrupt), signal.SIGTERM: (signal.SIG_DFL, Terminated)}
"""By signal: Python's default handler, and the exception that is raised here."""


@contextmanager
def stoppable() -> Iterator[Callable[[Shown], Shown]]:
    """Give a wrapper for progress functions that also stops the job if a stop signal got lost.

    Python drops an exception that is raised while C code calls it, as numba's compiler does. Handlers that were changed
    before, for example by `nohup`, are kept.
    """
    asked: list[type[KeyboardInterrupt]] = []
    mine = {number: error for number, (usual, error) in STOPS.items() if signal.getsignal(number) is usual}
    before, say_ignored = {number: signal.getsignal(number) for number in mine}, sys.unraisablehook

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(mine[signal.Signals(number)])
        raise asked[-1]

    def say_others(ignored: Any) -> None:
        if not (asked and isinstance(ignored.exc_value, KeyboardInterrupt)):
            say_ignored(ignored)

    def minding(show: Shown) -> Shown:
        def follow(progress: Progress) -> None:
            if asked:
                raise asked[-1]
            show(progress)

        return follow

    sys.unraisablehook = say_others
    for number in mine:
        signal.signal(number, note)
    try:
        yield minding
    finally:
        for number, how in before.items():
            signal.signal(number, how)
        sys.unraisablehook = say_ignored
    if asked:
        raise asked[-1]


def say(text: object = "", *, is_error: bool = False) -> None:
    """Print a text that may contain unsafe characters from a file."""
    stream = sys.stderr if is_error else sys.stdout
    if stream is not None:  # print would use stdout
        print(visible(str(text)), file=stream)


WIDEST = 110
"""Characters in a line of a list."""


def filled(text: str, width: int, start: str = "") -> str:
    """Wrap text after its start, without breaking paths and numbers, so that they can be copied."""
    indent = " " * len(start)
    return textwrap.fill(
        text, width, initial_indent=start, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


class Parser(argparse.ArgumentParser):
    """A parser whose help raises an error if it cannot be written; Python's ignores it."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is None or file is not sys.stdout:
            super()._print_message(message, file)
        else:
            file.write(message)


def refusal(error: OSError) -> str:
    """Return the message for an `OSError`; without a file name it is about the output."""
    what = "The output" if error.filename is None else str(error.filename)
    return f"{what} cannot be {'written' if error.filename is None else 'read or written'}: {error.strerror or error}."


def open_streams() -> None:
    """Open the output streams if the process has none (``2>&-``), and make all names printable.

    Otherwise the next opened file would get the number of a missing stream, and C libraries would print into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the smallest free number: this one
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))
    for stream in _streams():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Flush the output: a closed pipe raises its error here, and not when Python ends."""
    for stream in _streams():
        stream.flush()


def is_broken_pipe(error: OSError) -> bool:
    """Return whether an error means that the other end has closed the pipe; Windows has its own error."""
    is_of_windows = os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or is_of_windows


def silence_stdout() -> None:
    """Discard the remaining output, which Python would otherwise try to write, and report, at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in _streams():
        with suppress(io.UnsupportedOperation):  # a stream of another program
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _streams() -> list[TextIO]:
    """Return stdout and stderr; a program without a console has neither on Windows."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
