"""Clicks that are meant: a double click counts once, and what cannot be undone is asked for twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QApplication, QPushButton

ASKED_FOR_MS = 5000


class Once:
    """Calls a function at a click, and not again at the second half of a double click.

    Parameters
    ----------
    action : function ()
    """

    def __init__(self, action: Callable[[], Any]) -> None:
        self._action = action
        self._clicked_at = float("-inf")

    def __call__(self, *_: object) -> None:
        """Take note of a click."""
        since_ms = 1000 * (time.monotonic() - self._clicked_at)
        self._clicked_at = time.monotonic()
        if since_ms > QApplication.doubleClickInterval():
            self._action()


class AskingButton(QPushButton):
    """A button for what cannot be undone: the first click asks, the second one does it.

    Attributes
    ----------
    confirmed : Signal
    """

    confirmed = Signal()

    def __init__(self, title: str, question: str) -> None:
        super().__init__(title)
        self._title, self._question = title, question
        self.clicked.connect(Once(self._on_click))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(ASKED_FOR_MS)
        self._timer.timeout.connect(lambda: self.setText(self._title))

    def _on_click(self) -> None:
        if self._timer.isActive():
            self._timer.stop()
            self.confirmed.emit()
        else:
            self.setText(self._question)
            self._timer.start()
