"""A thread that always works on the latest request and lets go of older ones."""

from __future__ import annotations

import threading
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_tessera.ending import start_thread
from napari_tessera.gui.worker import quick_switching
from napari_tessera.jobs import Job


class Latest(QObject):
    """Runs jobs one after the other; a newer one closes the one before at its next step.

    `ready` comes with what was asked along and the job's result, `failed` with the error; both in the window's thread.
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
        """Work on `job` next; `about` comes back with its result."""
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
        """Let go of everything; the thread ends after its step, and nothing comes of it any more."""
        with self._changed:
            self._wanted, self._is_over = None, True
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Wait for the thread to end."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._is_over)
                if self._is_over or self._wanted is None:
                    self._thread = None  # within the lock: whoever asks from now on starts another thread
                    return
                about, job = self._wanted
                self._wanted = None
            self._work(about, job)

    def _work(self, about: Any, job: Job[Any]) -> None:
        try:
            with quick_switching():
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
            # The window has gone and taken Qt's half of this object along: nobody is left to show it to.
            self._is_over = True
