"""The card of a method: its picture, what it found in it, and what it is for."""

from __future__ import annotations

from html import escape
from textwrap import shorten

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QKeyEvent, QPixmap
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from napari_tessera.engine.trials import Trial, TrialResult
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.picture import fitted, outlined
from napari_tessera.gui.qt.layout import fill, wrapped_label
from napari_tessera.gui.qt.run_bar import RETURNS
from napari_tessera.methods.registry import method_named

PICTURE_PX = 162
DRAWN_PX = 2 * PICTURE_PX
"""Pictures are drawn at least so large, and then made smaller, so that outlines are thin."""
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


class Card(QWidget):
    """The picture of a trial, what the method found, and what it is for.

    Attributes
    ----------
    trial : Trial
    picture : PictureButton
    found : QLabel
    result : TrialResult or None
    """

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self.trial = trial
        self.title = method_named(trial.method).title
        self.result: TrialResult | None = None
        self.picture = PictureButton()
        self.picture.setIconSize(QSize(PICTURE_PX, PICTURE_PX))
        self.picture.setFixedSize(PICTURE_PX + 4, PICTURE_PX + 4)
        self.picture.setStyleSheet(STYLE)
        self.picture.setAccessibleName(self.title)
        self.picture.setToolTip(f"Open {self.title} with these settings.")
        self.found, purpose = wrapped_label(), wrapped_label()
        self.found.setTextFormat(Qt.TextFormat.RichText)
        purpose.setText(trial.purpose)
        layout = QVBoxLayout(self)
        fill(layout, self.picture, self.found, purpose, spacing=2)
        layout.addStretch(1)
        self.say("")

    def say(self, text: str) -> None:
        """Show the title and a text below it; of a long one the beginning, and all of it under the mouse."""
        self.found.setText(f"<b>{self.title}</b><br>{escape(shorten(text, LONGEST_TEXT, placeholder=' …'))}")
        self.found.setToolTip(tooltip(text))

    def clear(self, text: str) -> None:
        """Forget the result."""
        self.result = None
        self.picture.setIcon(QIcon())
        self.say(text)

    def show_result(self, result: TrialResult, picture: np.ndarray) -> None:
        """Show what was found on a picture of the same shape as the labels."""
        self.result = result
        large = max(DRAWN_PX, *result.labels.shape)
        drawn = np.ascontiguousarray(outlined(fitted(picture, large), fitted(result.labels, large)))
        height, width = drawn.shape[:2]
        image = QImage(drawn.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self.picture.setIcon(QIcon(QPixmap.fromImage(image.scaled(QSize(PICTURE_PX, PICTURE_PX), KEEP, SMOOTH))))
        took = f"{result.seconds:.1f} s" if result.seconds >= SHORTEST_SECONDS else "less than 0.1 s"
        self.say(f"{result.n_objects} object{'' if result.n_objects == 1 else 's'}, {took}")
