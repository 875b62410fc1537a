"""Dock a Tessera widget as a tab beside the other Tessera widgets."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

OURS = "napari_tessera."


class Placing(QTimer):
    """Docks a widget once, as soon as it is shown and napari has docked it."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.setSingleShot(True)
        self.timeout.connect(lambda: share_place(widget))
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Wait for the widget to be shown."""
        if watched is not None and event is not None and event.type() == QEvent.Type.Show:
            watched.removeEventFilter(self)
            self.start(0)
        return super().eventFilter(watched, event)


def share_place(widget: QWidget) -> None:
    """Show a docked widget as a tab in front of other Tessera widgets of its area; below them it would be cut off."""
    dock = _dock_of(widget)
    window = None if dock is None else dock.parent()
    if dock is None or not isinstance(window, QMainWindow) or dock.isFloating():
        return
    area = window.dockWidgetArea(dock)
    others = [each for each in window.findChildren(QDockWidget) if each is not dock and _is_ours(each)]
    beside = [each for each in others if window.dockWidgetArea(each) == area and not each.isFloating()]
    if not beside:
        return
    if not set(window.tabifiedDockWidgets(dock)) & set(beside):
        window.tabifyDockWidget(beside[-1], dock)
    dock.show()
    dock.raise_()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parent()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent


def _is_ours(dock: QDockWidget) -> bool:
    return any(type(each).__module__.startswith(OURS) for each in dock.findChildren(QWidget))
