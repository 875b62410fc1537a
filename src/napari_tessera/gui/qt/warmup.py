"""Load what a run needs in the background, while the user still looks at the form.

Compiled passes, networks and napari's colouring of labels are loaded at their first call, and loading holds up the
window for a moment.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from napari.layers import Labels
from napari.utils.notifications import show_warning

from napari_tessera.core.daemon_threads import start_thread
from napari_tessera.core.errors import LOGGER, WARNING
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.method import Method
from napari_tessera.engine.precompile import precompile, warm_up
from napari_tessera.gui.qt.worker import short_switch_interval

SECONDS_BETWEEN_LOOKS = 0.02
STARTING = "Getting ready"


class WarningHandler(logging.Handler):
    """Shows Tessera's warnings in the window."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a warning as a napari notification, from any thread."""
        show_warning(record.getMessage())


LOGGER.addHandler(WarningHandler(WARNING))


class WarmUp:
    """Prepares a method for images of a dtype, once, in a separate thread."""

    def __init__(self) -> None:
        self._text = STARTING
        self._thread: threading.Thread | None = None
        self._is_refused = self._is_stopped = False

    @property
    def is_over(self) -> bool:
        """Whether the preparation has ended, or its thread could not be started."""
        return self._is_refused or (self._thread is not None and not self._thread.is_alive())

    def start(self, method: Method, dtype: str, axes: str, settings: Mapping[str, Any]) -> None:
        """Start the preparation for "YX" or "ZYX"; `settings` are the models and the device. Later calls do nothing."""
        if self._thread is None and not self._is_stopped:
            self._thread = self._started(self._prepare, method, dtype, axes, dict(settings))

    def _started(self, target: Callable[..., None], *args: Any) -> threading.Thread | None:
        """Start a thread; if the system refuses, runs work without the preparation."""
        self._is_refused = False
        try:
            return start_thread(target, "tessera warm-up", *args, stop=self.stop)
        except RuntimeError:
            self._is_refused = True
            return None

    def stop(self) -> None:
        """End the preparation at its next step, or do not begin it."""
        self._is_stopped = True

    def waiting(self) -> Job[None]:
        """Wait until the preparation is over; a run would otherwise load the same things at the same time."""
        while not self.is_over:
            yield Progress(0, 1, self._text)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _prepare(self, method: Method, dtype: str, axes: str, settings: dict[str, Any]) -> None:
        try:
            for step in precompile(method, dtype, axes, settings):
                self._text = step.text
                if self._is_stopped:
                    return
            self._text = STARTING
            with short_switch_interval(), postponing_garbage_collection():
                Labels(warm_up(method, dtype, axes, settings).labels)
        except Exception:
            # The user did not start this run. If something is wrong, the user's own run will show it.
            return


@contextmanager
def postponing_garbage_collection() -> Iterator[None]:
    """Switch garbage collection off while a library is loaded.

    Python would collect several times, since loading creates many objects; each time, all threads wait for 0.1 s.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            # This marks the new objects as old; otherwise Python would go through them at once.
            gc.freeze()
            gc.unfreeze()
        gc.enable()
