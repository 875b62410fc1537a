"""Lines of text, and parts that scroll, that get the height they need."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize
from qtpy.QtWidgets import QLabel

from napari_tessera.gui.rows import AsTallAsContent


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


class Scrolling(AsTallAsContent):
    """Takes as much room as its content needs beside a scroll bar, which breaks more lines.

    With less, a scroll bar that came once would stay: it makes the content too tall to do without it.
    """

    def sizeHint(self) -> QSize:
        """Return the content's size, with its lines broken as a scroll bar demands."""
        hint, layout, bar = super().sizeHint(), self._content.layout(), self.verticalScrollBar()
        if layout is not None and bar is not None and layout.hasHeightForWidth():
            hint.setHeight(layout.totalHeightForWidth(self.width() - bar.sizeHint().width()))
        return hint
