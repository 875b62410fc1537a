"""Two small charts that grow while a network learns: the loss, and the score on the paint held back."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF, QTextOption
from qtpy.QtWidgets import QSizePolicy, QWidget

HEIGHT_PX = 92
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 40, 8, 18, 6
MOST_POINTS = 300
"""More are joined to means: a chart is no wider."""
DOT_PX = 2.5
NO_MORE = "From here on this is learnt, too: no score"
Point = tuple[float, float]


class Chart(QWidget):
    """One line over the steps.

    Parameters
    ----------
    title : str
    colour : str
    is_logarithmic : bool
        Otherwise from 0 to 1.
    """

    def __init__(self, title: str, colour: str, is_logarithmic: bool = False) -> None:
        super().__init__()
        self.title, self.colour, self.is_logarithmic = title, QColor(colour), is_logarithmic
        self.points: list[Point] = []
        self.steps = 1
        self.last: int | None = None
        self.setFixedHeight(HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Return a width that any dock has."""
        return QSize(200, HEIGHT_PX)

    def show_points(
        self, points: Sequence[Point], steps: int, title: str | None = None, last: int | None = None
    ) -> None:
        """Draw these from now on; `steps` is where the axis ends, and `last` the step after which no point comes."""
        self.points, self.steps, self.last = thinned(points), max(steps, 1), last
        self.title = self.title if title is None else title
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the frame, two numbers beside it, and the line."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(LEFT_PX, TOP_PX, self.width() - LEFT_PX - RIGHT_PX, self.height() - TOP_PX - BOTTOM_PX)
        low, high = self.limits()
        self._draw_frame(painter, frame, low, high)
        if self.last is not None:
            self._draw_end(painter, frame, self.last)
        places = [self._place(point, frame, low, high) for point in self.points]
        painter.setPen(QPen(self.colour, 2))
        painter.drawPolyline(QPolygonF(places))
        if not self.is_logarithmic:
            painter.setBrush(self.colour)
            for place in places:
                painter.drawEllipse(place, DOT_PX, DOT_PX)
        painter.end()

    def limits(self) -> Point:
        """Return what is at the bottom and at the top."""
        if not self.is_logarithmic:
            return 0.0, 1.0
        values = [value for _, value in self.points if value > 0]
        low, high = (min(values), max(values)) if values else (0.1, 1.0)
        return low * 0.9, max(high * 1.1, low * 1.5)

    def _draw_frame(self, painter: QPainter, frame: QRectF, low: float, high: float) -> None:
        text = self.palette().color(self.foregroundRole())
        painter.setPen(text)
        latest = f"{self.points[-1][1]:.3g}" if self.points else ""
        metrics = QFontMetricsF(painter.font())
        painter.drawText(QPointF(LEFT_PX, TOP_PX - 5), self.title)
        painter.drawText(QPointF(frame.right() - metrics.horizontalAdvance(latest), TOP_PX - 5), latest)
        beside = QTextOption(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        beside.setWrapMode(QTextOption.WrapMode.NoWrap)
        for value, y in ((high, frame.top()), (low, frame.bottom())):
            at = y + (5 if value == high else -5)
            painter.drawText(QRectF(0, at - 8, LEFT_PX - 5, 16), f"{value:.2g}", beside)
        text.setAlpha(90)
        painter.setPen(text)
        painter.drawRect(frame)

    def _draw_end(self, painter: QPainter, frame: QRectF, last: int) -> None:
        """Say why no point comes after `last`, with a shade as wide as the text is to be."""
        shade = self.palette().color(self.foregroundRole())
        rest = frame.adjusted(frame.width() * min(last / self.steps, 1), 0, 0, 0)
        shade.setAlpha(25)
        painter.fillRect(rest, shade)
        shade.setAlpha(160)
        painter.setPen(shade)
        painter.drawText(rest.adjusted(3, 0, -3, 0), NO_MORE, QTextOption(Qt.AlignmentFlag.AlignCenter))

    def _place(self, point: Point, frame: QRectF, low: float, high: float) -> QPointF:
        step, value = point
        if self.is_logarithmic:
            value, low, high = (math.log(max(each, 1e-9)) for each in (value, low, high))
        share = min(max((value - low) / (high - low), 0), 1)
        return QPointF(frame.left() + frame.width() * step / self.steps, frame.bottom() - frame.height() * share)


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Join neighbours to means until there are few enough.

    Examples
    --------
    >>> thinned([(1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0)], most=2)
    [(2, 3.0), (4, 7.0)]
    """
    each = max(1, -(-len(points) // most))
    groups = [points[start : start + each] for start in range(0, len(points), each)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
