"""The running training, saved when its widget closes; the offer of interrupted ones; the warm-up of training."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QApplication

from napari_tessera.core.errors import FileError
from napari_tessera.core.jobs import Job
from napari_tessera.gui.qt.buttons import RecoveryBox
from napari_tessera.gui.qt.warmup import WarmUp, postponing_garbage_collection
from napari_tessera.gui.qt.worker import Runner, short_switch_interval
from napari_tessera.gui.train.form import free_name, is_taken
from napari_tessera.gui.train.plot import TrainingHistory, record
from napari_tessera.models.registry import ModelEntry
from napari_tessera.training.interactive import warm_up_training
from napari_tessera.training.recovery import Interrupted, import_checkpoint, interrupted

STROKES = ("paint", "data")
"""napari's events for a finished stroke, and for a new array."""
ANYTHING = (*STROKES, "set_data")
"""Also undo, for which napari only emits that the layer is drawn again."""


class ChangeWatcher:
    """Notices the first of these events of some layers, and calls `on_change` then."""

    def __init__(self, events: Sequence[str], on_change: Callable[[], Any] = lambda: None) -> None:
        self.has_changed = False
        self._names, self._tell = events, on_change
        self._watched: list[Any] = []

    def watch(self, layers: Iterable[Labels]) -> None:
        """Watch these layers only."""
        for event in self._watched:
            event.disconnect(self._on_change)
        self.has_changed = False
        self._watched = [getattr(layer.events, name) for layer in layers for name in self._names]
        for event in self._watched:
            event.connect(self._on_change)

    def _on_change(self, *_: Any) -> None:
        if not self.has_changed:
            self.has_changed = True
            self._tell()


SECONDS_TO_SAVE = 60.0
"""Longest time that the program waits at its end for a model to be saved."""
SAVING = 'The training stops because its widget was closed. The best model so far is being saved as "{}".'
NOT_SAVED = 'The best model so far could not be saved as "{}": {}'


def register_shutdown(action: Callable[[], None]) -> None:
    """Call `action` at the end of the program, while the thread pools that save a model still accept work."""
    # Python closes its pools by the same function, last registered first; `atexit` comes only after them.
    getattr(threading, "_register_atexit", atexit.register)(action)


class RunningTraining:
    """A running training of a model; it can outlive its widget, which Qt deletes first when napari is closed."""

    def __init__(self) -> None:
        self.runner = Runner()
        self.history = TrainingHistory()
        self.name = ""
        self._stopping = threading.Event()
        application = QApplication.instance()
        assert application is not None
        application.aboutToQuit.connect(lambda: self.end())
        register_shutdown(self.end)  # a script may end without quitting Qt, with the widget open

    @property
    def is_stopping(self) -> bool:
        """Whether the training stops after the current step."""
        return self._stopping.is_set()

    def begin(self, name: str, job: Callable[[Callable[[], bool]], Job[Any]], goes_on: bool = False) -> None:
        """Start a training, or continue the last one; `job` gets a function that returns whether to stop."""
        self.name, self._stopping = name, threading.Event()
        self.history = self.history.continued() if goes_on else TrainingHistory()
        self.runner.start(record(job(self._stopping.is_set), self.history))

    def stop(self) -> None:
        """Stop after this step, and save the best model so far."""
        self._stopping.set()

    def detach(self) -> bool:
        """Detach from the widget, stop, and save the best model so far; return whether there is a model to save.

        Before the first step there is no model, and the training is cancelled.
        """
        if self.runner.is_left or not self.runner.is_running:
            return self.runner.is_running
        if self.runner.is_cancelled or not self.history.losses:
            self.runner.cancel()
            return False
        name = self.name
        self.runner.failed.connect(lambda error: show_warning(NOT_SAVED.format(name, error)))
        self.runner.leave()
        self.stop()
        show_info(SAVING.format(name))
        return True

    def end(self) -> None:
        """Save the best model before the program ends; the runner's daemon thread would not delay the end."""
        self.detach()
        self.runner.wait(SECONDS_TO_SAVE)


_threads: list[threading.Thread] = []
"""The thread that warms this process up, once started."""


class TrainWarmUp(WarmUp):
    """Trains one step on a tiny image, in a separate thread, once in a process."""

    def begin(self) -> None:
        """Start the warm-up, unless this process was warmed up."""
        if not _threads:
            thread = self._started(self._rehearse)
            _threads.extend([thread] if thread is not None else [])
        self._thread = next(iter(_threads), None)

    def _rehearse(self) -> None:
        try:
            with short_switch_interval(), postponing_garbage_collection():
                for _ in warm_up_training():
                    if self._is_stopped:
                        return
                Labels(np.zeros((1, 1), np.uint8))  # napari compiles how it colours labels
        except Exception:
            # The user did not start this. If something is wrong, the user's own training will show it.
            return


GONE = "The checkpoint of {!r} is gone: another window saved, discarded or finished this training."


class InterruptedBox(RecoveryBox):
    """Offers the interrupted trainings; `recovered` is emitted with the entry of the new model."""

    title = "Save as a model"

    def found(self) -> list[Interrupted]:
        """Return the interrupted trainings."""
        return interrupted()

    def describe(self, item: Interrupted) -> str:
        """Return the name, the steps and the date of a training."""
        when = f"{item.when:%d %B, %H:%M}"
        return f"The training of {item.name!r} was interrupted at step {item.step:,} of {item.steps:,}, {when}."

    def recovering(self, item: Interrupted) -> Job[ModelEntry]:
        """Save an interrupted training as a model, and delete its checkpoint."""
        if not item.path.exists():
            raise FileError(GONE.format(item.name))
        name = free_name(item.name) if is_taken(item.name) else item.name
        entry = yield from import_checkpoint(item.path, name)
        item.path.unlink(missing_ok=True)
        return entry

    def delete(self, item: Interrupted) -> None:
        """Delete the checkpoint of a training."""
        try:
            item.path.unlink(missing_ok=True)
        except OSError as error:
            raise FileError(f"{item.path} cannot be deleted: {error.strerror}.") from error
