"""Buttons that ignore double clicks or ask for confirmation, and the clipboard."""

from __future__ import annotations

import time

from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QApplication, QPushButton

ASKED_FOR_MS = 5000


class OnceButton(QPushButton):
    """A button that counts a double click once.

    Attributes
    ----------
    pressed_once : Signal
    """

    pressed_once = Signal()

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._clicked_at = float("-inf")
        self.clicked.connect(self._note_click)

    def _note_click(self) -> None:
        since_ms = 1000 * (time.monotonic() - self._clicked_at)
        self._clicked_at = time.monotonic()
        if since_ms > QApplication.doubleClickInterval():
            self.pressed_once.emit()


class AskingButton(OnceButton):
    """A button for an action that cannot be undone: the first click asks, the second one confirms.

    Attributes
    ----------
    confirmed : Signal
    """

    confirmed = Signal()

    def __init__(self, title: str, question: str) -> None:
        super().__init__(title)
        self._title, self._question = title, question
        self.pressed_once.connect(self._ask)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(ASKED_FOR_MS)
        self._timer.timeout.connect(self._ask_no_longer)

    def _ask_no_longer(self) -> None:
        self.setText(self._title)

    def _ask(self) -> None:
        if self._timer.isActive():
            self._timer.stop()
            self.confirmed.emit()
        else:
            self.setText(self._question)
            self._timer.start()


def copy(text: str) -> None:
    """Put text on the clipboard."""
    if (clipboard := QGuiApplication.clipboard()) is not None:
        clipboard.setText(text)


def paste() -> str:
    """Return the text on the clipboard."""
    clipboard = QGuiApplication.clipboard()
    return "" if clipboard is None else clipboard.text()
