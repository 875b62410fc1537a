"""The outline, the clicks and the box, drawn over the canvas; no layer is added for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QLineF, QObject, QPointF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_tessera.gui.point.pointing import Pointing
from napari_tessera.gui.point.scene import Box, Place

TAKEN, LIGHT, RIM = QColor("#f0e442"), QColor(255, 255, 255, 230), QColor(0, 0, 0, 150)
TAKEN_PX, LIGHT_PX, RIM_PX = 2.0, 1.5, 2.0
"""Widths of the lines; the dark rim makes them as much wider, so that they are seen on any image."""
POSITIVE, NEGATIVE = QColor("#009e73"), QColor("#d55e00")
DOT_PX, SIGN_PX = 4.5, 2.5
"""Radii of a click, and of the plus or the minus in it."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn, in pixels of the image.

    Attributes
    ----------
    outline : array or None
        (N, 2, 2) lines.
    is_taken : bool
        Whether it is the object that was clicked; otherwise it is what a click would give.
    """

    outline: np.ndarray | None = None
    is_taken: bool = False
    positive: tuple[Place, ...] = ()
    negative: tuple[Place, ...] = ()
    box: Box | None = None


NOTHING = Drawing()


def drawing_of(pointing: Pointing, corners: tuple[Any, Any] | None) -> Drawing:
    """Return what is drawn in the plane shown; `corners` are those of a box being drawn, in the viewer's world."""
    if pointing.pointed is None or pointing.pointed.scene.layer not in pointing.pointed.scene.viewer.layers:
        return NOTHING
    scene, pick = pointing.pointed.scene, pointing.pick
    box = None if corners is None else scene.box(*corners)
    if pick is None:
        return Drawing(None if pointing.hovered is None or box else pointing.hovered[1].outline, box=box)
    plane = scene.plane()
    seen = pointing.planes.get(plane)
    outline = None if seen is None else seen.outline
    if plane != pick.plane:
        return Drawing(outline, True, box=box)
    return Drawing(outline, True, pick.places("positive"), pick.places("negative"), box or pick.box)


def matrix_of(pointing: Pointing) -> np.ndarray | None:
    """Return the matrix from pixels of the image to the canvas; None if what is drawn is not in view."""
    if pointing.pointed is None:
        return None
    scene = pointing.pointed.scene
    return scene.to_canvas(scene.plane() if pointing.hovered is None else pointing.hovered[0])


class OutlineOverlay(QWidget):
    """Lies over the canvas; the mouse goes through it. `left` is emitted when the mouse leaves the canvas.

    Parameters
    ----------
    to_canvas : function
        Returns the (2, 3) matrix from pixels (y, x, 1) to the canvas (x, y), or None if the drawing is not in view.
    """

    left = Signal()

    def __init__(self, canvas: QWidget, to_canvas: Callable[[], np.ndarray | None]) -> None:
        super().__init__(canvas)
        self._canvas, self._to_canvas = canvas, to_canvas
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.drawing = NOTHING
        canvas.installEventFilter(self)
        self.hide()

    def draw(self, drawing: Drawing) -> None:
        """Show a drawing instead of the one before."""
        self.drawing = drawing
        self.setVisible(drawing is not NOTHING)
        if drawing is not NOTHING:
            self.setGeometry(self._canvas.rect())
            self.raise_()
            self.update()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the size of the canvas, and the mouse."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self.setGeometry(self._canvas.rect())
        if event is not None and event.type() == QEvent.Type.Leave:
            self.left.emit()
        return super().eventFilter(watched, event)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the outline, the box, and then the clicks."""
        matrix = self._to_canvas()
        if matrix is None:
            return
        painter, drawing = QPainter(self), self.drawing
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if drawing.outline is not None and len(drawing.outline):
            ends = _mapped(matrix, drawing.outline.reshape(-1, 2)).reshape(-1, 4)
            lines = [QLineF(*each) for each in ends.tolist()]
            colour, width = (TAKEN, TAKEN_PX) if drawing.is_taken else (LIGHT, LIGHT_PX)
            for pen in _pens(colour, width):
                painter.setPen(pen)
                painter.drawLines(*lines)
        if drawing.box is not None:
            y0, x0, y1, x1 = drawing.box
            corners = _mapped(matrix, np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)]))
            polygon = QPolygonF([QPointF(*each) for each in corners.tolist()])
            for pen in _pens(TAKEN, LIGHT_PX):
                pen.setStyle(Qt.PenStyle.DashLine)
                painter.setPen(pen)
                painter.drawPolygon(polygon)
        for places, colour, is_plus in ((drawing.positive, POSITIVE, True), (drawing.negative, NEGATIVE, False)):
            for x, y in _mapped(matrix, np.array(places, float).reshape(-1, 2)).tolist():
                _draw_dot(painter, QPointF(x, y), colour, is_plus)
        painter.end()


def _mapped(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return places (N, 2) as y, x on the canvas, as x, y."""
    mapped: np.ndarray = places @ matrix[:, :2].T + matrix[:, 2]
    return mapped


def _pens(colour: QColor, width_px: float) -> tuple[QPen, QPen]:
    """Return the pens of the dark rim and of the line."""
    return QPen(RIM, width_px + RIM_PX), QPen(colour, width_px)


def _draw_dot(painter: QPainter, at: QPointF, colour: QColor, is_plus: bool) -> None:
    painter.setPen(QPen(QColor("white"), 1.5))
    painter.setBrush(colour)
    painter.drawEllipse(at, DOT_PX, DOT_PX)
    painter.drawLine(QLineF(at.x() - SIGN_PX, at.y(), at.x() + SIGN_PX, at.y()))
    if is_plus:
        painter.drawLine(QLineF(at.x(), at.y() - SIGN_PX, at.x(), at.y() + SIGN_PX))
    painter.setBrush(Qt.BrushStyle.NoBrush)
