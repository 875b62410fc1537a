"""The line that the mouse draws over the canvas, in pixels of the screen; no layer is added for it."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

COLOUR, OUTLINE = "#f0e442", "#000000"
WIDTH_PX, OUTLINE_PX = 2, 4


class LineOverlay(QWidget):
    """Lies over the canvas while a line is drawn; the mouse goes through it."""

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.points: list[tuple[float, float]] = []
        self.hide()

    def show_line(self, points: Sequence[Sequence[float]]) -> None:
        """Show a line through positions on the canvas, (x, y)."""
        self.points = [(float(point[0]), float(point[1])) for point in points]
        if self.isHidden():
            self.setGeometry(self._canvas.rect())
            self.show()
            self.raise_()
        self.update()

    def clear(self) -> None:
        """Hide the line."""
        self.points = []
        self.hide()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the line, with a dark rim so that it is seen on any image."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line = QPolygonF([QPointF(*point) for point in self.points])
        for colour, width in ((OUTLINE, OUTLINE_PX), (COLOUR, WIDTH_PX)):
            painter.setPen(QPen(QColor(colour), width))
            painter.drawPolyline(line)
        painter.end()
