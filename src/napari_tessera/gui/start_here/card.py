"""Cards with a picture: what a method, or a model, found in it, and what it is for."""

from __future__ import annotations

from html import escape
from textwrap import shorten

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QKeyEvent, QPixmap
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from napari_tessera.core.result import count_in_words
from napari_tessera.engine.trials import Trial, TrialResult
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.picture import fitted, outlined
from napari_tessera.gui.qt.layout import fill, wrapped_label
from napari_tessera.gui.qt.run_bar import RETURNS
from napari_tessera.methods.registry import method_named

PICTURE_PX = 162
SHARPNESS = 2
"""Pictures are drawn at least so many times as large as they are shown, so that outlines are thin."""
KEEP, SMOOTH = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
SHORTEST_SECONDS = 0.1
LONGEST_TEXT = 70
STYLE = """
QToolButton { border: 1px solid #5a6570; border-radius: 3px; background: #1c1f24; padding: 0; }
QToolButton:hover, QToolButton:focus { border: 2px solid #2f86dd; }
"""


class PictureButton(QToolButton):
    """A picture that is clicked with the mouse, Space or Return."""

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Click with Return, too."""
        if event is not None and event.key() in RETURNS and event.modifiers() == Qt.KeyboardModifier.NoModifier:
            self.click()
        else:
            super().keyPressEvent(event)


class PictureCard(QWidget):
    """A picture with objects outlined on it, to click, above what it shows and what it is for.

    Attributes
    ----------
    title : str
    picture : PictureButton
    found : QLabel
    """

    def __init__(self, title: str, on_click: str, purpose: str, side_px: int = PICTURE_PX) -> None:
        super().__init__()
        self.title = title
        self.side_px = side_px
        self.picture = PictureButton()
        self.picture.setIconSize(QSize(side_px, side_px))
        self.picture.setFixedSize(side_px + 4, side_px + 4)
        self.picture.setStyleSheet(STYLE)
        self.picture.setAccessibleName(title)
        self.picture.setToolTip(on_click)
        self.found, below = wrapped_label(), wrapped_label()
        self.found.setTextFormat(Qt.TextFormat.RichText)
        below.setText(purpose)
        layout = QVBoxLayout(self)
        fill(layout, self.picture, self.found, below, spacing=2)
        layout.addStretch(1)
        self.say("")

    def say(self, text: str) -> None:
        """Show the title and a text below it; of a long one the beginning, and all of it under the mouse."""
        shown = escape(shorten(text, LONGEST_TEXT, placeholder=" …"))
        self.found.setText(f"<b>{escape(self.title)}</b><br>{shown}")
        self.found.setToolTip(tooltip(text))

    def draw(self, labels: np.ndarray, picture: np.ndarray) -> None:
        """Show labels on a picture of the same shape."""
        large = max(SHARPNESS * self.side_px, *labels.shape)
        drawn = np.ascontiguousarray(outlined(fitted(picture, large), fitted(labels, large)))
        height, width = drawn.shape[:2]
        image = QImage(drawn.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self.picture.setIcon(QIcon(QPixmap.fromImage(image.scaled(QSize(self.side_px, self.side_px), KEEP, SMOOTH))))


class Card(PictureCard):
    """The picture of a trial, what the method found, and what it is for.

    Attributes
    ----------
    trial : Trial
    result : TrialResult or None
    """

    def __init__(self, trial: Trial) -> None:
        title = method_named(trial.method).title
        super().__init__(title, f"Open {title} with these settings.", trial.purpose)
        self.trial = trial
        self.result: TrialResult | None = None

    def clear(self, text: str) -> None:
        """Forget the result."""
        self.result = None
        self.picture.setIcon(QIcon())
        self.say(text)

    def show_result(self, result: TrialResult, picture: np.ndarray) -> None:
        """Show what was found on a picture of the same shape as the labels."""
        self.result = result
        self.draw(result.labels, picture)
        took = f"{result.seconds:.1f} s" if result.seconds >= SHORTEST_SECONDS else "less than 0.1 s"
        self.say(f"{count_in_words(result.n_objects)}, {took}")
