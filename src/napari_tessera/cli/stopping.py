"""Ctrl-C and SIGTERM end a run cleanly, wherever it is: also inside of a library that passes over them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from napari_tessera.jobs import Progress

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
