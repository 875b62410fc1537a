"""Run a job in a thread: progress, cancel, result and errors arrive as Qt signals.

superqt's generator worker is not used: it swallows a `RuntimeError` (torch and numba raise little else) and its `quit`
never closes the generator.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_tessera.ending import start_thread
from napari_tessera.jobs import Job, Progress

SECONDS_BETWEEN_REPORTS = 0.1

SWITCH_SECONDS = 0.0005
"""While a job runs, Python hands the interpreter to the window after so long, not after its usual 5 ms.

napari filters every event in Python; each of a burst of events would otherwise wait 5 ms for the job's threads.
"""

_switching = threading.Lock()
_switching_quickly: list[bool] = []
_usual_seconds: list[float] = []
_sparing = threading.Lock()
_runs_sparing: list[bool] = []


@contextmanager
def quick_switching() -> Iterator[None]:
    """Let other threads have the interpreter more often; the outermost of several puts the usual time back."""
    with _switching:
        if not _switching_quickly:
            _usual_seconds.append(sys.getswitchinterval())
            sys.setswitchinterval(SWITCH_SECONDS)
        _switching_quickly.append(True)
    try:
        yield
    finally:
        with _switching:
            _switching_quickly.pop()
            if not _switching_quickly:
                sys.setswitchinterval(_usual_seconds.pop())


@contextmanager
def sparing_what_there_is() -> Iterator[None]:
    """Look for garbage among new objects alone, until the last of several has ended.

    Among all objects of napari and torch, Python takes 0.4 s to look for it, and holds its lock meanwhile.
    """
    with _sparing:
        if not _runs_sparing:
            gc.freeze()
        _runs_sparing.append(True)
    try:
        yield
    finally:
        with _sparing:
            _runs_sparing.pop()
            if not _runs_sparing:
                gc.unfreeze()


class Runner(QObject):
    """Runs one job at a time.

    Signals arrive in the thread of the window: `progressed` with a `Progress`, and then exactly one of `returned` (with
    the result), `failed` (with the exception) or `cancelled`.
    """

    progressed = Signal(object)
    returned = Signal(object)
    failed = Signal(object)
    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_left = False

    @property
    def is_running(self) -> bool:
        """Whether a job has not ended yet."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_cancelled(self) -> bool:
        """Whether no further step was asked for."""
        return self._stop.is_set()

    @property
    def is_left(self) -> bool:
        """Whether the job goes on though nobody listens."""
        return self._is_left

    def start(self, job: Job[Any]) -> None:
        """Start a job; the one before must have ended. Where no thread can be started, `failed` comes at once."""
        if self.is_running:
            raise ValueError("A job is running already; cancel it or wait for it.")
        self._stop = threading.Event()
        self._is_left = False
        try:
            self._thread = start_thread(self._drive, "tessera run", job, self._stop, stop=self._stop.set)
        except RuntimeError as error:
            self._send("failed", error)

    def cancel(self) -> None:
        """Ask for no further step. The job is closed in its own thread, and `cancelled` follows."""
        self._stop.set()

    def leave(self) -> None:
        """Let the job go on to its end though the window goes; of the signals, only `failed` still comes."""
        self._is_left = True

    def wait(self, seconds: float) -> bool:
        """Wait for the thread to end; say whether it did."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.is_running

    def _drive(self, job: Job[Any], stop: threading.Event) -> None:
        try:
            with quick_switching(), sparing_what_there_is():
                result = self._steps(job, stop)
        except BaseException as error:
            self._send("failed", error)
        else:
            self._send(*(("cancelled",) if stop.is_set() else ("returned", result)))

    def _steps(self, job: Job[Any], stop: threading.Event) -> Any:
        reported = 0.0
        try:
            while not stop.is_set():
                step: Progress = next(job)
                if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
                    reported = time.monotonic()
                    self._send("progressed", step)
        except StopIteration as end:
            return end.value
        finally:
            job.close()
        return None

    def _send(self, signal: str, *values: Any) -> None:
        if self._is_left and signal != "failed":
            return
        try:
            getattr(self, signal).emit(*values)
        except RuntimeError:
            # The window has gone and taken Qt's half of this object along: nobody is left to tell.
            if not self._is_left:
                self._stop.set()
