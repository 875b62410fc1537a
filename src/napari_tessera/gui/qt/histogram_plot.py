"""A histogram with logarithmic counts and lines to drag, drawn with Qt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

WIDTH_PX, HEIGHT_PX = 280, 118
SIDE_PX, TOP_PX, BOTTOM_PX = 6, 20, 16
NEAR_PX = 7
"""A line is taken hold of within this distance."""
GRIP_PX = 5
TEXT_GAP_PX = 8
MOST_BARS = 256
STEPS_ACROSS = 256
"""An arrow key moves a line of intensities that are not whole numbers by the width over this."""
LIGHTER_PER_CLASS = 30
CHOSEN, LINE, REFERENCE = QColor("#3d9be9"), QColor("#ffd166"), QColor("#c8c8c8")


@dataclass(frozen=True)
class Line:
    """A line across the histogram.

    Attributes
    ----------
    name : str
    cut : float
        Its place, between the intensities on either side; infinite at an open end.
    text : str
    is_movable : bool
        Whether the user can drag it; otherwise it is dashed.
    """

    name: str
    cut: float
    text: str
    is_movable: bool = True


class HistogramPlot(QWidget):
    """Bars, lines and the ends of the axis.

    Attributes
    ----------
    moved : Signal
        Name of a line, and the place to which the user moved it; infinite at the end of the axis.
    held : str or None
        Name of the line that the mouse holds, or that the arrow keys move.
    """

    moved = Signal(str, float)

    def __init__(self) -> None:
        super().__init__()
        self._edges, self._counts = np.array([0.0, 1.0]), np.array([0])
        self._end_texts: Sequence[str] = ("", "")
        self._lines: tuple[Line, ...] = ()
        self._chosen: tuple[tuple[float, float], ...] = ()
        self._key_step = 1.0
        self.held: str | None = None
        self._is_dragging = False
        self._width_held: int | None = None
        self.setMinimumHeight(HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Histogram of the intensities")

    def sizeHint(self) -> QSize:
        """Return the usual size."""
        return QSize(WIDTH_PX, HEIGHT_PX)

    def show_bars(self, edges: np.ndarray, counts: np.ndarray, texts: Sequence[str], key_step: float | None) -> None:
        """Show N counts between N + 1 edges, with a text at either end of the axis.

        `key_step` is how far an arrow key moves a line; None is a part of the width.
        """
        self._edges, self._counts, self._end_texts = edges, counts, texts
        self._key_step = key_step or (edges[-1] - edges[0]) / STEPS_ACROSS
        self.update()

    def show_lines(self, lines: Sequence[Line], chosen: Sequence[tuple[float, float]]) -> None:
        """Show lines from left to right; bars in the `chosen` ranges are coloured, each range lighter than the last."""
        self._lines, self._chosen = tuple(lines), tuple(chosen)
        if self.held not in [line.name for line in self._movable()]:
            self.held = None
        self.update()

    @property
    def ends(self) -> tuple[float, float]:
        """Intensities at the left and at the right end."""
        return float(self._edges[0]), float(self._edges[-1])

    def x_of(self, cut: float) -> float:
        """Return where an intensity is drawn, in pixels from the left."""
        low, high = self.ends
        frame = self._frame()
        return frame.left() + frame.width() * (min(max(cut, low), high) - low) / (high - low)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw bars, lines and the ends of the axis."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = self._frame()
        self._draw_bars(painter, frame)
        self._draw_axis(painter, frame)
        for line in self._lines:
            self._draw_line(painter, frame, line)
        self._draw_texts(painter, frame)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Take hold of the nearest line."""
        line = self._line_at(event.position().x()) if event is not None else None
        if event is None or line is None or event.button() != Qt.MouseButton.LeftButton:
            super().mousePressEvent(event)
            return
        self.held, self._is_dragging = line.name, True
        self._width_held = self.width()  # rows that appear in the form must not move the line under the mouse
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Move the line that is held; elsewhere the cursor shows whether a line can be taken hold of."""
        if event is None:
            return
        if self._is_dragging and self.held is not None:
            self._move(self.held, self._cut_at(event.position().x()))
        is_near = self._is_dragging or self._line_at(event.position().x()) is not None
        self.setCursor(Qt.CursorShape.SplitHCursor if is_near else Qt.CursorShape.ArrowCursor)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Let go of the line."""
        self._is_dragging, self._width_held = False, None
        self.update()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Move a line with the left and right arrow; the up and down arrow go to the next line."""
        movable = self._movable()
        key = None if event is None else event.key()
        across = (key == Qt.Key.Key_Right) - (key == Qt.Key.Key_Left)
        to_next = (key == Qt.Key.Key_Down) - (key == Qt.Key.Key_Up)
        if not movable or not (across or to_next):
            super().keyPressEvent(event)
            return
        names = [line.name for line in movable]
        place = names.index(self.held) if self.held in names else 0
        self.held = names[(place + to_next) % len(names)]
        self.update()
        if across:
            cut = min(max(movable[place].cut, self.ends[0]), self.ends[1])
            self._move(self.held, cut + across * self._key_step)

    def _move(self, name: str, cut: float) -> None:
        """Tell where a line goes; lines do not pass each other."""
        movable = self._movable()
        place = [line.name for line in movable].index(name)
        before = [line.cut for line in movable[:place]]
        after = [line.cut for line in movable[place + 1 :]]
        cut = min(max(cut, max(before, default=-math.inf)), min(after, default=math.inf))
        low, high = self.ends
        self.moved.emit(name, -math.inf if cut <= low else math.inf if cut >= high else cut)

    def _movable(self) -> list[Line]:
        return [line for line in self._lines if line.is_movable]

    def _line_at(self, x: float) -> Line | None:
        near = [line for line in self._movable() if abs(self.x_of(line.cut) - x) <= NEAR_PX]
        return min(near, key=lambda line: abs(self.x_of(line.cut) - x), default=None)

    def _cut_at(self, x: float) -> float:
        frame = self._frame()
        low, high = self.ends
        return low + (high - low) * (x - frame.left()) / frame.width()

    def _frame(self) -> QRectF:
        width = self.width() if self._width_held is None else self._width_held
        return QRectF(SIDE_PX, TOP_PX, width - 2 * SIDE_PX, self.height() - TOP_PX - BOTTOM_PX)

    def _draw_bars(self, painter: QPainter, frame: QRectF) -> None:
        tallest = math.log1p(max(self._counts.max(), 1))
        plain = self.palette().color(self.foregroundRole())
        plain.setAlpha(110)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)  # no seams between the bars
        for left, right, count in zip(self._edges[:-1], self._edges[1:], self._counts, strict=True):
            height = frame.height() * math.log1p(count) / tallest
            middle = (left + right) / 2
            classes = [number for number, (low, high) in enumerate(self._chosen) if low <= middle <= high]
            x = self.x_of(left)
            bar = QRectF(x, frame.bottom() - height, max(self.x_of(right) - x, 0.5), height)
            painter.fillRect(bar, CHOSEN.lighter(100 + LIGHTER_PER_CLASS * classes[0]) if classes else plain)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def _draw_axis(self, painter: QPainter, frame: QRectF) -> None:
        text = self.palette().color(self.foregroundRole())
        text.setAlpha(170)
        painter.setPen(text)
        painter.drawLine(frame.bottomLeft(), frame.bottomRight())
        below = QRectF(frame.left(), frame.bottom() + 1, frame.width(), BOTTOM_PX)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, self._end_texts[0])
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, "intensity (log counts)")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, self._end_texts[1])

    def _draw_line(self, painter: QPainter, frame: QRectF, line: Line) -> None:
        x = self.x_of(line.cut)
        colour = LINE if line.is_movable else REFERENCE
        is_held = line.name == self.held and (self._is_dragging or self.hasFocus())
        painter.setPen(QPen(colour, 2.5 if is_held else 1.5, Qt.PenStyle.SolidLine if line.is_movable else DASHED))
        painter.drawLine(QPointF(x, frame.top()), QPointF(x, frame.bottom()))
        if line.is_movable:
            painter.setBrush(colour)
            top = frame.top() - 1
            corners = [QPointF(x - GRIP_PX, top - 4), QPointF(x + GRIP_PX, top - 4), QPointF(x, top + GRIP_PX)]
            painter.drawPolygon(QPolygonF(corners))

    def _draw_texts(self, painter: QPainter, frame: QRectF) -> None:
        """Write the text of each line above it, beside the text of the line before."""
        painter.setPen(self.palette().color(self.foregroundRole()))
        metrics, free = QFontMetricsF(painter.font()), frame.left()
        widths = [metrics.horizontalAdvance(line.text) for line in self._lines]
        for place, (line, wide) in enumerate(zip(self._lines, widths, strict=True)):
            room_after = sum(widths[place:]) + TEXT_GAP_PX * (len(widths) - place - 1)
            left = min(max(self.x_of(line.cut) - wide / 2, free), frame.right() - room_after)
            painter.drawText(QPointF(left, frame.top() - 8), line.text)
            free = left + wide + TEXT_GAP_PX


DASHED = Qt.PenStyle.DashLine
