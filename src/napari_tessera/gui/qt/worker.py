"""Run jobs in a thread; progress, result, errors and cancelling arrive as Qt signals.

superqt's generator worker is not used: it swallows a `RuntimeError` (which torch and numba raise most) and its `quit`
never closes the generator.
"""

from __future__ import annotations

import gc
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_tessera.core.daemon_threads import start_thread
from napari_tessera.core.errors import in_words
from napari_tessera.core.jobs import Job, Progress


@contextmanager
def shown_by(show: Callable[[Exception], object]) -> Iterator[None]:
    """Pass an error to `show`; an error raised into Qt would be lost, or end napari."""
    try:
        yield
    except Exception as error:
        show(error)


def showing_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method that Qt or napari calls: errors go to the object's `show_error`."""
    most = len(inspect.signature(method).parameters)

    @wraps(method)
    def guarded(self: Any, *given: Any, **named: Any) -> Any:
        # Like Qt, drop arguments of a signal that the method does not take.
        with shown_by(self.show_error):
            return method(self, *given[: most - 1], **named)

    return guarded


def sentence(error: BaseException) -> str:
    """Return the message that the user reads for any error."""
    return in_words(error) or f"This should not have happened ({type(error).__name__}: {error})."


SECONDS_BETWEEN_REPORTS = 0.1
SWITCH_SECONDS = 0.0005
"""Switch interval of Python's threads while a job runs, instead of 5 ms.

napari filters every event in Python; each of a burst of events would otherwise wait 5 ms for the job's threads.
"""


def shared_by_threads(begin: Callable[[], Callable[[], object]]) -> Callable[[], AbstractContextManager[None]]:
    """Return a context for several threads: the first one calls `begin`, and the last one what `begin` returned."""
    lock = threading.Lock()
    ends: list[Callable[[], object]] = []

    @contextmanager
    def entered() -> Iterator[None]:
        with lock:
            ends.append(ends[-1] if ends else begin())
        try:
            yield
        finally:
            with lock:
                end = ends.pop()
                if not ends:
                    end()

    return entered


@shared_by_threads
def short_switch_interval() -> Callable[[], object]:
    """Shorten Python's thread switch interval."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    return lambda: sys.setswitchinterval(usual)


@shared_by_threads
def freeze_gc() -> Callable[[], object]:
    """Collect new objects only: a collection of all objects of napari and torch holds Python's lock for 0.4 s."""
    if gc.get_freeze_count():  # by others, who have chosen what is spared
        return bool
    gc.freeze()
    return gc.unfreeze


class Runner(QObject):
    """Runs one job at a time.

    Signals arrive in the thread of the window: `progressed` with a `Progress`, and then exactly one of `returned` (with
    the result), `failed` (with the exception) or `cancelled`. With `is_left`, the job goes on after its window was
    closed.
    """

    progressed = Signal(object)
    returned = Signal(object)
    failed = Signal(object)
    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._ended.set()
        self._thread: threading.Thread | None = None
        self.is_left = False

    @property
    def is_running(self) -> bool:
        """Whether a job has not ended yet."""
        return not self._ended.is_set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was cancelled."""
        return self._stop.is_set()

    def start(self, job: Job[Any]) -> None:
        """Start a job; the one before must have ended. If no thread can be started, `failed` is emitted at once."""
        if self.is_running:
            raise ValueError("A job is running already; cancel it or wait for it.")
        self._stop, self._ended = threading.Event(), threading.Event()
        self.is_left = False
        events = self._stop, self._ended
        try:
            self._thread = start_thread(self._drive, "tessera run", job, *events, stop=self._stop.set)
        except RuntimeError as error:
            self._ended.set()
            self._send("failed", error)

    def cancel(self) -> None:
        """Cancel the job. It is closed in its own thread, and `cancelled` is emitted."""
        self._stop.set()

    def leave(self) -> None:
        """Let the job go on after the window is closed; only `failed` is still emitted."""
        self.is_left = True

    def wait(self, seconds: float) -> None:
        """Wait for the thread to end."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _drive(self, job: Job[Any], stop: threading.Event, ended: threading.Event) -> None:
        last: tuple[Any, ...]
        try:
            with short_switch_interval(), freeze_gc():
                result = self._steps(job, stop)
            last = ("cancelled",) if stop.is_set() else ("returned", result)
        except BaseException as error:
            last = ("failed", error)
        ended.set()
        self._send(*last)

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
        if self.is_left and signal != "failed":
            return
        try:
            getattr(self, signal).emit(*values)
        except RuntimeError:
            # The window is closed, and Qt has deleted its half of this object.
            if not self.is_left:
                self._stop.set()


class LatestOnlyWorker(QObject):
    """Runs only the latest job: a new job closes the running one at its next step.

    `ready` is emitted with `about` and the job's result, `failed` with the error; both in the window's thread.
    """

    ready = Signal(object, object)
    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._wanted: tuple[Any, Job[Any]] | None = None
        self._is_over = False
        self._thread: threading.Thread | None = None

    def ask(self, about: Any, job: Job[Any]) -> None:
        """Run `job` next; `about` is emitted with its result."""
        with self._changed:
            self._wanted = (about, job)
            self._is_over = False
            self._changed.notify()
            is_served = self._thread is not None and self._thread.is_alive()
        if not is_served:
            try:
                self._thread = start_thread(self._serve, "tessera preview", stop=self.stop)
            except RuntimeError as error:
                self._send("failed", error)

    def stop(self) -> None:
        """Drop all jobs; the thread ends after its step, and emits nothing more."""
        with self._changed:
            self._wanted, self._is_over = None, True
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Wait for the thread to end."""
        if (thread := self._thread) is not None:
            thread.join(seconds)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._is_over)
                if self._is_over or self._wanted is None:
                    self._thread = None  # within the lock: the next `ask` starts another thread
                    return
                about, job = self._wanted
                self._wanted = None
            self._work(about, job)

    def _work(self, about: Any, job: Job[Any]) -> None:
        try:
            with short_switch_interval():
                while self._wanted is None and not self._is_over:
                    next(job)
        except StopIteration as end:
            self._send("ready", about, end.value)
        except BaseException as error:
            self._send("failed", error)
        finally:
            job.close()

    def _send(self, signal: str, *values: Any) -> None:
        if self._is_over:
            return
        try:
            getattr(self, signal).emit(*values)
        except RuntimeError:
            # The window is closed, and Qt has deleted its half of this object.
            self._is_over = True
