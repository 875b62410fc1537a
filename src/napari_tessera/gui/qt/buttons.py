"""Buttons that ignore double clicks or ask for confirmation, offers to recover things, timers, the clipboard."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_tessera.core.jobs import Job
from napari_tessera.gui.qt.layout import NOTE_STYLE, fill, wrapped_label
from napari_tessera.gui.qt.worker import Runner, shown_by

ASKED_FOR_MS = 5000
MOST_OFFERED = 3


def single_shot(parent: QObject, milliseconds: int, action: Callable[[], object]) -> QTimer:
    """Make a timer that calls `action` once, some time after its last start."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(action)
    return timer


class OnceButton(QPushButton):
    """A button that counts a double click once."""

    pressed_once = Signal()

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._clicked_at = float("-inf")
        self.clicked.connect(self._note_click)

    def _note_click(self) -> None:
        since_ms = 1000 * (time.monotonic() - self._clicked_at)
        if since_ms > QApplication.doubleClickInterval():
            self.pressed_once.emit()
        # Afterwards, since the second click waits while the window is busy with the first.
        self._clicked_at = time.monotonic()


class AskingButton(OnceButton):
    """A button for an action that cannot be undone: the first click asks, the second one confirms."""

    confirmed = Signal()

    def __init__(self, title: str, question: str) -> None:
        super().__init__(title)
        self._question = question
        self.pressed_once.connect(self._ask)
        self._timer = single_shot(self, ASKED_FOR_MS, lambda: self.setText(title))

    def _ask(self) -> None:
        if self._timer.isActive():
            self._timer.stop()
            self.confirmed.emit()
        else:
            self.setText(self._question)
            self._timer.start()


class RecoveryBox(QWidget):
    """A line for each thing that an earlier session left, with buttons to recover it in a thread or to discard it.

    Attributes
    ----------
    recovered, failed : Signal
        Emitted with what was recovered, or with the error.
    """

    recovered = Signal(object)
    failed = Signal(object)
    title = "Recover"
    """Text of the button."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = Runner()
        self.runner.returned.connect(self._on_recovered)
        self.runner.failed.connect(self._on_failed)
        self._lines: list[QWidget] = []
        self._layout = QVBoxLayout(self)
        fill(self._layout)
        self.refresh()

    def found(self) -> Sequence[Any]:
        """Return the things that can be recovered."""
        raise NotImplementedError

    def describe(self, item: Any) -> str:
        """Return the text of a line."""
        raise NotImplementedError

    def recovering(self, item: Any) -> Job[Any]:
        """Return the job that recovers a thing."""
        raise NotImplementedError

    def delete(self, item: Any) -> None:
        """Delete a thing."""
        raise NotImplementedError

    def recover(self, item: Any, *_: Any) -> None:
        """Recover a thing in a thread."""
        if not self.runner.is_running:
            self.runner.start(self.recovering(item))

    def refresh(self) -> None:
        """Update the lines."""
        try:
            offered = self.found()[:MOST_OFFERED]
        except OSError:
            offered = []
        for line in self._lines:
            self._layout.removeWidget(line)
            line.hide()
            line.deleteLater()
        self._lines = [self._line(item) for item in offered]
        for line in self._lines:
            self._layout.addWidget(line)
        self.setVisible(bool(offered))

    def _line(self, item: Any) -> QWidget:
        line, text = QWidget(), wrapped_label(NOTE_STYLE)
        text.setText(self.describe(item))
        recover_button = QPushButton(self.title)
        recover_button.clicked.connect(partial(self.recover, item))
        discard_button = AskingButton("Discard", "Discard for good?")
        discard_button.confirmed.connect(partial(self._discard, item))
        buttons = QHBoxLayout()
        buttons.addWidget(recover_button)
        buttons.addWidget(discard_button)
        fill(QVBoxLayout(line), text, buttons)
        return line

    def _discard(self, item: Any) -> None:
        with shown_by(self.failed.emit):
            self.delete(item)
        self.refresh()

    def _on_recovered(self, thing: Any) -> None:
        self.refresh()
        self.recovered.emit(thing)

    def _on_failed(self, error: BaseException) -> None:
        self.refresh()
        self.failed.emit(error)


def copy(text: str) -> None:
    """Put text on the clipboard."""
    if (clipboard := QGuiApplication.clipboard()) is not None:
        clipboard.setText(text)


def paste() -> str:
    """Return the text on the clipboard."""
    clipboard = QGuiApplication.clipboard()
    return "" if clipboard is None else clipboard.text()
