"""Lines of text that get the height they need."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QLabel


class AsTallAsLines(QObject):
    """Has a label laid out again that is less tall than its lines.

    When rows come and go, Qt's form layout now and then shares out the height as it was before.
    """

    def __init__(self, label: QLabel) -> None:
        super().__init__(label)
        label.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at the height whenever the label is drawn."""
        if isinstance(watched, QLabel) and event is not None and event.type() == QEvent.Type.Paint:
            rows = watched.parentWidget()
            layout = rows.layout() if rows is not None else None
            if layout is not None and watched.height() < watched.heightForWidth(watched.width()):
                layout.invalidate()
        return super().eventFilter(watched, event)
