"""The training under way, and what becomes of it when its widget goes: the best so far is saved."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import Any

from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QApplication

from napari_tessera.gui.train_course import Course, noted
from napari_tessera.gui.worker import Runner
from napari_tessera.jobs import Job

SECONDS_TO_SAVE = 60.0
"""How long the program waits for a model to be saved before it ends."""
SAVING = 'The training stops, as its widget was closed. The best so far is being saved as "{}".'
NOT_SAVED = 'The best so far could not be saved as "{}": {}'


def before_pools_close(action: Callable[[], None]) -> None:
    """Call `action` when the program ends, while its thread pools, which saving a model needs, still take work."""
    # Python's own pools are closed by the same function, last registered first; `atexit` comes only after them.
    getattr(threading, "_register_atexit", atexit.register)(action)


class UnderWay:
    """What is known of a training without its widget, whose half in Qt goes first when napari is closed.

    Attributes
    ----------
    runner : Runner
    course : Course
    name : str
        Name of the model.
    """

    def __init__(self) -> None:
        self.runner = Runner()
        self.course = Course()
        self.name = ""
        self._stopping = threading.Event()
        application = QApplication.instance()
        assert application is not None
        application.aboutToQuit.connect(lambda: self.end())
        before_pools_close(self.end)  # a script may end without quitting Qt, with the widget open

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end after the step under way."""
        return self._stopping.is_set()

    def begin(self, name: str, job: Callable[[Callable[[], bool]], Job[Any]], goes_on: bool = False) -> None:
        """Start a training, or take up the last one; `job` is given a function that says whether to stop."""
        self.name, self._stopping = name, threading.Event()
        self.course = self.course.continued() if goes_on else Course()
        self.runner.start(noted(job(self._stopping.is_set), self.course))

    def stop(self) -> None:
        """End after this step, and save the best so far."""
        self._stopping.set()

    def let_go(self) -> bool:
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
        self.let_go()
        self.runner.wait(SECONDS_TO_SAVE)
