"""Load what a run needs before the user presses Run, so that the first run is as smooth as the others.

Compiled passes, networks and napari's own colouring of labels are loaded when they are first called, and loading holds
up the window for a moment. That moment is better spent while the user still looks at the form.
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

from napari_tessera.core.errors import LOGGER, WARNING
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.method import Method
from napari_tessera.core.threads import is_ending, start_thread
from napari_tessera.engine import precompile as compiled
from napari_tessera.gui.qt.worker import short_switch_interval

SECONDS_BETWEEN_LOOKS = 0.02
STARTING = "Getting ready"


class Telling(logging.Handler):
    """Shows in the window what Tessera warns of on its way."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a sentence in napari's corner, from whichever thread it comes."""
        show_warning(record.getMessage())


LOGGER.addHandler(Telling(WARNING))


class WarmUp:
    """Prepares a method for images of a dtype, once, in a thread of its own."""

    def __init__(self) -> None:
        self._text = STARTING
        self._thread: threading.Thread | None = None
        self._is_refused = False

    @property
    def is_over(self) -> bool:
        """Whether it was started and has ended, or no thread could be started for it."""
        return self._is_refused or (self._thread is not None and not self._thread.is_alive())

    def start(self, method: Method, dtype: str, axes: str, settings: Mapping[str, Any]) -> None:
        """Start it; a second time, nothing happens.

        Parameters
        ----------
        method : Method
        dtype : str
        axes : "YX" or "ZYX"
        settings : mapping
            The models that the method is to load, and where to.
        """
        if self._thread is None:
            self._thread = self._started(self._prepare, method, dtype, axes, dict(settings))

    def _started(self, target: Callable[..., None], *args: Any) -> threading.Thread | None:
        """Start a thread; where that is refused, a run does without what would have been prepared."""
        self._is_refused = False
        try:
            return start_thread(target, "tessera warm-up", *args)
        except RuntimeError:
            self._is_refused = True
            return None

    def waiting(self) -> Job[None]:
        """Wait until it is over: a run would load the same things at the same time, and less smoothly."""
        while not self.is_over:
            yield Progress(0, 1, self._text)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _prepare(self, method: Method, dtype: str, axes: str, settings: dict[str, Any]) -> None:
        try:
            for step in compiled.precompile(method, dtype, axes, settings):
                self._text = step.text
                if is_ending.is_set():
                    return
            self._text = STARTING
            with short_switch_interval(), postponing_garbage_collection():
                from napari_tessera.engine.precompile import warm_up

                Labels(warm_up(method, dtype, axes, settings).labels)
        except Exception:
            # Nobody asked for this run. If something is wrong, the run that the user starts will say so.
            return


@contextmanager
def postponing_garbage_collection() -> Iterator[None]:
    """Let Python not look for garbage while a library is loaded.

    Loading makes so many objects, nearly all to stay, that Python goes through all there are several times, and no
    other thread runs in the meantime: a tenth of a second each time.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        # This counts the new objects as old ones; otherwise Python would go through them at once.
        gc.freeze()
        gc.unfreeze()
        gc.enable()
