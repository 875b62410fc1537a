"""The training under way, and what becomes of it when its widget goes: the best so far is saved.

Whether layers of paint have changed since a certain moment.

Load what a training needs before the user presses Train, once in a process.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QApplication

from napari_tessera.core.jobs import Job
from napari_tessera.core.threads import is_ending
from napari_tessera.gui.qt.warmup import WarmUp, postponing_garbage_collection
from napari_tessera.gui.qt.worker import Runner, short_switch_interval
from napari_tessera.gui.train.plot import TrainingHistory, record
from napari_tessera.training.interactive import warm_up_training

STROKES = ("paint", "data")
"""napari's events after a stroke, or when a layer gets another array."""
ANYTHING = (*STROKES, "set_data")
"""Also when a stroke is undone, of which napari tells nothing but that the layer is drawn anew."""


class ChangeWatcher:
    """Takes note of the first change of some layers.

    Parameters
    ----------
    events : sequence of str
        What counts as a change.
    tell : function ()
        Called at the first change.

    Attributes
    ----------
    has_changed : bool
    """

    def __init__(self, events: Sequence[str], tell: Callable[[], Any] = lambda: None) -> None:
        self.has_changed = False
        self._names, self._tell = events, tell
        self._watched: list[Any] = []

    def watch(self, layers: Iterable[Labels]) -> None:
        """Look at these layers from now on, and at no others."""
        self._disconnect()
        self.has_changed = False
        self._watched = [getattr(layer.events, name) for layer in layers for name in self._names]
        for event in self._watched:
            event.connect(self._on_change)

    def _disconnect(self) -> None:
        for event in self._watched:
            event.disconnect(self._on_change)
        self._watched = []

    def _on_change(self, *_: Any) -> None:
        if not self.has_changed:
            self.has_changed = True
            self._tell()


SECONDS_TO_SAVE = 60.0
"""How long the program waits for a model to be saved before it ends."""
SAVING = 'The training stops, as its widget was closed. The best so far is being saved as "{}".'
NOT_SAVED = 'The best so far could not be saved as "{}": {}'


def register_shutdown(action: Callable[[], None]) -> None:
    """Call `action` when the program ends, while its thread pools, which saving a model needs, still take work."""
    # Python's own pools are closed by the same function, last registered first; `atexit` comes only after them.
    getattr(threading, "_register_atexit", atexit.register)(action)


class RunningTraining:
    """What is known of a training without its widget, whose half in Qt goes first when napari is closed.

    Attributes
    ----------
    runner : Runner
    course : TrainingHistory
    name : str
        Name of the model.
    """

    def __init__(self) -> None:
        self.runner = Runner()
        self.course = TrainingHistory()
        self.name = ""
        self._stopping = threading.Event()
        application = QApplication.instance()
        assert application is not None
        application.aboutToQuit.connect(lambda: self.end())
        register_shutdown(self.end)  # a script may end without quitting Qt, with the widget open

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end after the step under way."""
        return self._stopping.is_set()

    def begin(self, name: str, job: Callable[[Callable[[], bool]], Job[Any]], goes_on: bool = False) -> None:
        """Start a training, or take up the last one; `job` is given a function that says whether to stop."""
        self.name, self._stopping = name, threading.Event()
        self.course = self.course.continued() if goes_on else TrainingHistory()
        self.runner.start(record(job(self._stopping.is_set), self.course))

    def stop(self) -> None:
        """End after this step, and save the best so far."""
        self._stopping.set()

    def detach(self) -> bool:
        """Go on without anybody who listens, to save the best so far; say whether there is something to save.

        Before the first step nothing is learnt, and the training is cancelled.
        """
        if self.runner.is_left or not self.runner.is_running:
            return self.runner.is_running
        if self.runner.is_cancelled or not self.course.losses:
            self.runner.cancel()
            return False
        name = self.name
        self.runner.failed.connect(lambda error: show_warning(NOT_SAVED.format(name, error)))
        self.runner.leave()
        self.stop()
        show_info(SAVING.format(name))
        return True

    def end(self) -> None:
        """Save the best so far before the program ends; the runner's thread would not keep it from ending."""
        self.detach()
        self.runner.wait(SECONDS_TO_SAVE)


_threads: list[threading.Thread] = []
"""The one that prepares, or has prepared, this process."""


class TrainWarmUp(WarmUp):
    """Takes a step on a tiny image, in a thread of its own."""

    def begin(self) -> None:
        """Start it, unless this process has been prepared."""
        if not _threads:
            thread = self._started(self._rehearse)
            _threads.extend([thread] if thread is not None else [])
        self._thread = next(iter(_threads), None)

    def _rehearse(self) -> None:
        try:
            with short_switch_interval(), postponing_garbage_collection():
                for _ in warm_up_training():
                    if is_ending.is_set():
                        return
                Labels(np.zeros((1, 1), np.uint8))  # napari compiles how it colours labels
        except Exception:
            # Nobody asked for this. If something is wrong, the training that the user starts will say so.
            return
