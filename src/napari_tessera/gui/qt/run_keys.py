"""Keys of a Tessera widget: Return or Ctrl-Return runs, Esc cancels."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QLineEdit,
    QTextEdit,
    QWidget,
)

from napari_tessera.gui.qt.run_bar import RunBar

RUN_HELP = "Return runs; Ctrl-Return also where you type a number or a text."
CANCEL_HELP = "Esc cancels."
RETURNS = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
TAKES_RETURN = (QAbstractSpinBox, QLineEdit, QTextEdit, QAbstractItemView)
"""Widgets in which Return finishes what the user types or chooses, and must not run anything."""


class RunKeys(QObject):
    """Presses the buttons of a bar for keys that no part of its widget uses.

    Only keys pressed inside the widget arrive here: those of napari's canvas, such as Esc while a polygon is drawn,
    stay napari's.
    """

    def __init__(self, widget: QWidget, bar: RunBar) -> None:
        super().__init__(widget)
        self._bar = bar
        bar.run_button.setToolTip(RUN_HELP)
        bar.cancel_button.setToolTip(f"{bar.cancel_button.toolTip()} {CANCEL_HELP}".strip())
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Press Run or Cancel; Qt passes on the keys that the focused field has left over."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and not event.isAutoRepeat():
            button = self._button_for(event)
            if button is not None and button.isEnabled():
                button.click()
                return True
        return super().eventFilter(watched, event)

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
