"""The bar at the bottom of a widget: Run, Cancel and their keys, menu, progress and messages."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping

from napari.components import ViewerModel
from napari.layers import Labels, Shapes
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QProgressBar,
    QPushButton,
    QTextEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_tessera.core.errors import in_words
from napari_tessera.core.jobs import Progress
from napari_tessera.gui.form.text import in_titles
from napari_tessera.gui.qt import buttons as clipboard
from napari_tessera.gui.qt.layout import ERROR_STYLE, NOTE_STYLE, OFFER_STYLE, PLAIN_STYLE, fill, wrapped_label
from napari_tessera.gui.qt.worker import sentence, showing_errors

RUN_STYLE = """
QPushButton { background-color: #2374c6; color: white; font-weight: bold; border-radius: 4px; padding: 7px; }
QPushButton:hover { background-color: #2f86dd; }
QPushButton:pressed { background-color: #1b5fa5; }
QPushButton:disabled { background-color: #5a6570; color: #aab2ba; }
"""
SURE_AFTER_SECONDS, SURE_AFTER_FRACTION = 3.0, 0.05


class RunBar(QWidget):
    """The bar at the bottom of a widget, always visible; `busy_title` is on the Run button while a job runs."""

    run_asked = Signal()
    cancel_asked = Signal()

    def __init__(self, title: str = "Run", busy_title: str = "Running …") -> None:
        super().__init__()
        self._titles = (title, busy_title)
        self.run_button = QPushButton(title)
        self.run_button.setStyleSheet(RUN_STYLE)
        self.run_button.clicked.connect(self.run_asked.emit)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel_asked.emit)
        self.menu = QMenu(self)
        self.menu_button = self._make_menu_button()
        self.progress_bar = QProgressBar()
        self.progress_bar.setRange(0, 100)
        self.progress_bar.setTextVisible(False)
        self.progress_bar.setFixedHeight(8)
        self.message = wrapped_label()
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.details_button = QPushButton("Copy details")
        self.details_button.clicked.connect(self._copy_details)
        self.offer_button = QPushButton()
        self.offer_button.clicked.connect(self._do)
        self.titles: Mapping[str, str] = {}
        """The titles in the form of names that messages may contain."""
        self.size_in_field: Callable[[str, float], str] = lambda _, pixels: f"{pixels:g} px"
        """Writes a size in pixels as the field of this name shows it."""
        self._started = 0.0
        self._details = ""
        self._action: Callable[[], object] = lambda: None
        self._lay_out()
        self.show_running(False)
        self.say("")

    def show_running(self, is_running: bool) -> None:
        """Switch between ready and running."""
        self.run_button.setEnabled(not is_running)
        self.run_button.setText(self._titles[is_running])
        self.cancel_button.setEnabled(is_running)
        self.progress_bar.setValue(0)
        self.progress_bar.setVisible(is_running)
        self._started = time.monotonic()

    def show_progress(self, step: Progress) -> None:
        """Show the progress of the run, and after some seconds how long it will still take."""
        self.progress_bar.setValue(round(100 * step.fraction))
        left = remaining_time(time.monotonic() - self._started, step.fraction)
        self.say(f"{step.text} …{left}" if step.text else "")

    def say(self, text: str, is_warning: bool = False) -> None:
        """Show a message; an empty text hides it."""
        self._show(text, NOTE_STYLE if is_warning else PLAIN_STYLE)

    def show_error(self, error: BaseException) -> None:
        """Show an error; an unexpected one is shown with a button to copy its details."""
        if (known := in_words(error)) is not None:
            self._show(known, ERROR_STYLE)
        else:
            text = f"{sentence(error)} No layer was changed. Please report it with the details."
            self._show(text, ERROR_STYLE, "".join(traceback.format_exception(error)))

    def offer(self, text: str, title: str, action: Callable[[], object]) -> None:
        """Show a message with a button for an action."""
        self._show(text, OFFER_STYLE)
        self._action = action
        self.offer_button.setText(title)
        self.offer_button.setVisible(True)

    def clear_offer(self) -> None:
        """Remove an offer or error about settings that have changed since."""
        if self.message.styleSheet() in (OFFER_STYLE, ERROR_STYLE):
            self.say("")

    def clear_message(self) -> None:
        """Remove a message about another image; an offer is about the settings."""
        if self.message.styleSheet() != OFFER_STYLE:
            self.say("")

    def clear_error(self) -> None:
        """Remove an error about something that has changed since."""
        if self.message.styleSheet() == ERROR_STYLE:
            self.say("")

    def _show(self, text: str, style: str, details: str = "") -> None:
        self.message.setText(in_titles(text, self.titles, self.size_in_field))
        self.message.setStyleSheet(style)
        self.message.setVisible(bool(text))
        self._details = details
        self.details_button.setVisible(bool(details))
        self.offer_button.setVisible(False)

    @showing_errors
    def _do(self) -> None:
        self._action()

    @showing_errors
    def _copy_details(self) -> None:
        clipboard.copy(self._details)

    def _make_menu_button(self) -> QToolButton:
        button = QToolButton()
        button.setText("⋯")
        button.setToolTip("Defaults, recipes and code")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(self.menu)
        button.setStyleSheet("QToolButton { padding: 5px 8px; } QToolButton::menu-indicator { image: none; }")
        return button

    def _lay_out(self) -> None:
        self.buttons = QHBoxLayout()
        self.buttons.addWidget(self.run_button, 1)
        self.buttons.addWidget(self.cancel_button)
        self.buttons.addWidget(self.menu_button)
        widgets = (self.progress_bar, self.message, self.offer_button, self.details_button)
        fill(QVBoxLayout(self), self.buttons, *widgets, spacing=6)


def remaining_time(seconds: float, fraction: float) -> str:
    """Return how long a run will still take as text, after `seconds`; empty while that is unknown."""
    if seconds < SURE_AFTER_SECONDS or fraction < SURE_AFTER_FRACTION:
        return ""
    left = seconds * (1 - fraction) / fraction
    return f" About {left / 60:.0f} min left." if left >= 90 else f" About {max(left, 1):.0f} s left."


RUN_HELP = "Return runs; Ctrl-Return also where you type a number or a text."
CANCEL_HELP = "Esc cancels."
KEY_NAMES = {Qt.Key.Key_Return: "Enter", Qt.Key.Key_Enter: "Enter", Qt.Key.Key_Escape: "Escape"}
RETURNS = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
TAKES_RETURN = (QAbstractSpinBox, QLineEdit, QTextEdit, QAbstractItemView)
"""Widgets in which Return finishes what the user types or chooses, and must not run anything."""


class RunKeys(QObject):
    """Presses the buttons of a bar for keys that neither a part of its widget nor napari in its canvas uses.

    Qt passes on to the widget the keys that the focused field has left over.
    """

    def __init__(self, widget: QWidget, bar: RunBar, viewer: ViewerModel) -> None:
        super().__init__(widget)
        self._widget, self._bar, self._viewer = widget, bar, viewer
        bar.run_button.setToolTip(RUN_HELP)
        bar.cancel_button.setToolTip(f"{bar.cancel_button.toolTip()} {CANCEL_HELP}".strip())
        widget.installEventFilter(self)
        if (canvas := canvas_of(viewer)) is not None:
            canvas.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Press Run or Cancel; in the canvas, for the widget that is seen."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and not event.isAutoRepeat():
            button = self._button_for(event)
            if button is not None and button.isEnabled() and self._is_meant(watched, event):
                button.click()
                return True
        return super().eventFilter(watched, event)

    def _is_meant(self, watched: QObject | None, event: QKeyEvent) -> bool:
        is_seen = not self._widget.visibleRegion().isEmpty()  # a widget behind another tab counts as visible in Qt
        return watched is self._widget or (is_seen and not is_napari_key(self._viewer, event))

    def _button_for(self, event: QKeyEvent) -> QAbstractButton | None:
        if event.key() == Qt.Key.Key_Escape:
            return self._bar.cancel_button
        if event.key() not in RETURNS:
            return None
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if modifiers == Qt.KeyboardModifier.ControlModifier:
            return self._bar.run_button
        is_plain = modifiers == Qt.KeyboardModifier.NoModifier
        return self._bar.run_button if is_plain and not isinstance(QApplication.focusWidget(), TAKES_RETURN) else None


def canvas_of(viewer: ViewerModel) -> QWidget | None:
    """Return the widget on which napari draws the layers; None without a window."""
    window = getattr(viewer, "window", None)
    return None if window is None else window._qt_viewer.canvas.native


def is_napari_key(viewer: ViewerModel, event: QKeyEvent) -> bool:
    """Return whether napari uses Return, Ctrl-Return or Esc in the canvas now.

    Return and Esc are those of shapes and labels while a polygon is drawn, and otherwise do nothing there.
    """
    is_with_control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
    key = coerce_keybinding(f"{'Control-' * is_with_control}{KEY_NAMES[Qt.Key(event.key())]}")
    layer = viewer.layers.selection.active
    is_idle = isinstance(layer, Labels | Shapes) and not str(layer.mode).startswith(("add", "polygon"))
    users = (viewer,) if layer is None or (is_idle and not is_with_control) else (viewer, layer)
    return any(key in keymap for user in users for keymap in (user.keymap, *_class_keymaps(user)))


def _class_keymaps(user: object) -> Iterator[Mapping[object, object]]:
    return (vars(each)["class_keymap"] for each in type(user).__mro__ if "class_keymap" in vars(each))
