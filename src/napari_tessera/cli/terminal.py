"""Terminal output (safe text, progress bar, closed pipes), and clean ends on Ctrl-C and SIGTERM."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import signal
import sys
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
    """Prints what Tessera tells of itself; that nothing is wrong and only takes its time, a terminal alone is told."""

    def __init__(self) -> None:
        super().__init__(INFO if sys.stderr is not None and sys.stderr.isatty() else WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line above the bar."""
        from tqdm import tqdm

        tqdm.write(visible(f"tessera: {record.getMessage()}"), file=sys.stderr)


@contextmanager
def telling() -> Iterator[None]:
    """Print what Tessera tells of itself meanwhile."""
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
    """What SIGTERM does to a run: it stops as after Ctrl-C."""


STOPS = {signal.SIGINT: (signal.default_int_handler, KeyboardInterrupt), signal.SIGTERM: (signal.SIG_DFL, Terminated)}
"""By signal: how Python meets it unless somebody has chosen otherwise, and what is raised here."""


@contextmanager
def stoppable() -> Iterator[Callable[[Shown], Shown]]:
    """Give what makes a function that shows progress also stop the job, if a signal to stop got lost on the way.

    Python passes over whatever is raised while C code calls it, as numba's compiler does. What a signal is met with is
    left alone where somebody else has chosen it, such as `nohup`.
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


def is_broken_pipe(error: OSError) -> bool:
    """Return whether an error is that of printing into a pipe that the other end has closed; Windows has its own."""
    is_of_windows = os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or is_of_windows


def silence_stdout() -> None:
    """Let go of all that is still to be printed, which Python would otherwise try, and complain of, when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in _streams():
        with suppress(io.UnsupportedOperation):  # a stream that another program has put there
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _streams() -> list[TextIO]:
    """Return what is printed to; a program without a console has neither on Windows."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
