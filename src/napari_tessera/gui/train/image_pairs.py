"""The rows that choose the images of a training, each with its annotation layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.core.method import Method
from napari_tessera.core.spec import Image as ImageArray
from napari_tessera.core.spec import Labels as LabelArray
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.annotation import annotation_facts, is_annotation
from napari_tessera.gui.layers.read import array_of, labels_of
from napari_tessera.gui.method.inputs import InputsBox
from napari_tessera.gui.qt.buttons import OnceButton
from napari_tessera.gui.qt.layout import Rows
from napari_tessera.training.interactive import AnnotatedLayer

NEW_HELP = "Add an empty annotation layer over the image, with the brush ready."
MORE_HELP = "Add an image and its annotation; all are trained on together."


def pair(image: ImageArray, annotation: LabelArray | None = None) -> LabelArray:
    """Pair an image with its annotation.

    Parameters
    ----------
    image : array
        The image to train on.
    annotation : array
        The layer that you paint on: 0 is not painted and never counts, 1 is background, 2 and up are classes or
        objects.
    """
    return np.zeros(image.shape) if annotation is None else annotation


PAIR = Method(pair, "Image and annotation")


class PairBox(QWidget):
    """The rows of one image and its annotation.

    Attributes
    ----------
    new_asked : Signal
        Emitted when the user asks for a new annotation layer.
    inputs : InputsBox
    """

    new_asked = Signal()
    removed = Signal()

    def __init__(self, viewer: ViewerModel, is_first: bool) -> None:
        super().__init__()
        self.viewer = viewer
        rows = Rows()
        self.inputs = InputsBox(viewer, PAIR, rows)
        self.new_button = OnceButton("New annotation layer")
        self.new_button.setToolTip(tooltip(NEW_HELP))
        self.new_button.pressed_once.connect(self.new_asked.emit)
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip(tooltip("Train without this image. Its layers stay."))
        self.remove_button.clicked.connect(self.removed.emit)
        self.remove_button.setHidden(is_first)
        buttons = QHBoxLayout()
        buttons.addWidget(self.new_button, 1)
        buttons.addWidget(self.remove_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(rows)
        layout.addLayout(buttons)
        self.inputs.main.on_change(self.guess_paint)
        self.guess_paint()

    @property
    def image(self) -> Layer | None:
        """The chosen image."""
        return self.inputs.main.layer

    @property
    def paint(self) -> Labels | None:
        """The chosen annotation layer."""
        layer = self.inputs.boxes["annotation"].layer
        return layer if isinstance(layer, Labels) else None

    @paint.setter
    def paint(self, layer: Labels) -> None:
        self.inputs.boxes["annotation"].layer = layer

    @property
    def axes(self) -> str:
        """One letter for each axis of the image's array."""
        return self.inputs.axes

    def guess_paint(self) -> None:
        """Choose the annotation layer of this image, unless a layer that may belong to it is chosen."""
        if self.image is None or (self.paint is not None and self.may_belong(self.paint)):
            return
        box = self.inputs.boxes["annotation"]
        box.combo.value = next((each for each in box.offered() if is_annotation(each) and self.may_belong(each)), None)

    def follow_layers(self) -> None:
        """Update the boxes after layers were added, removed or renamed; a chosen annotation stays."""
        before = self.image, self.paint
        self.inputs.refresh()
        is_as_chosen = self.paint is not None and (self.image, self.paint) == before
        if self.image is not None and not (is_as_chosen and self.fits(self.paint)):
            self.guess_paint()

    def may_belong(self, paint: Layer) -> bool:
        """Return whether the annotation has the image's shape, and was not made for an image with another name."""
        assert self.image is not None
        made_for = annotation_facts(paint).get("image") if is_annotation(paint) else None
        return self.fits(paint) and made_for in (None, self.image.name)

    def fits(self, paint: Layer) -> bool:
        """Return whether an annotation has the image's shape."""
        assert self.image is not None
        sides = zip(self.axes, array_of(self.image).shape, strict=False)
        return tuple(labels_of(paint, self.axes).shape) == tuple(side for axis, side in sides if axis != "C")

    def given(self) -> AnnotatedLayer:
        """Return the image and its annotation.

        Raises
        ------
        InputError
            If one of them is missing.
        """
        image, paint = self.inputs.main_layer(), self.paint
        if paint is None:
            raise InputError(
                f'{image.name}: no annotation is chosen. Press "New annotation layer" and paint on it: 1 for '
                "background, 2 and up for what you look for."
            )
        spacing = self.inputs.placement().spatial.spacing
        anisotropy = spacing[0] / spacing[-1] if "Z" in self.axes else 1.0
        return AnnotatedLayer(image.name, array_of(image), labels_of(paint, self.axes), self.axes, anisotropy)


class PairsBox(QWidget):
    """All pairs of image and annotation; at the start there is one."""

    new_asked = Signal(object)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.pairs: list[PairBox] = []
        self._callbacks: list[Callable[[], Any]] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.more_button = QPushButton("+ One more image")
        self.more_button.setToolTip(tooltip(MORE_HELP))
        self.more_button.clicked.connect(self.add)
        self._layout.addWidget(self.more_button)
        self.add()

    @property
    def first(self) -> PairBox:
        """The first pair; the form follows its image."""
        return self.pairs[0]

    def add(self) -> PairBox:
        """Add a pair, with the topmost image that no other pair has."""
        pair = PairBox(self.viewer, is_first=not self.pairs)
        taken = [each.image for each in self.pairs]
        if pair.image in taken:
            pair.inputs.main.take_one(taken)
        pair.new_asked.connect(lambda: self.new_asked.emit(pair))
        pair.removed.connect(lambda: self.remove(pair))
        pair.inputs.on_change(self._tell)
        self._layout.insertWidget(len(self.pairs), pair)
        self.pairs.append(pair)
        self._tell()
        return pair

    def remove(self, pair: PairBox) -> None:
        """Remove a pair."""
        self.pairs.remove(pair)
        self._layout.removeWidget(pair)
        pair.hide()
        pair.deleteLater()
        self._tell()

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever other layers or axes are chosen."""
        self._callbacks.append(callback)

    def refresh(self) -> None:
        """Update the boxes after layers were added, removed or renamed."""
        for pair in self.pairs:
            pair.follow_layers()

    def axes_of(self, image: Layer) -> str:
        """Return the axes of an image among the pairs.

        Raises
        ------
        InputError
            If the image is no longer among them.
        """
        found = next((pair.axes for pair in self.pairs if pair.image is image), None)
        if found is None:
            raise InputError(f"{image.name!r} is no longer among the images. Choose it again, or train again.")
        return found

    def given(self) -> tuple[AnnotatedLayer, ...]:
        """Return all images and their annotations.

        Raises
        ------
        InputError
            If a layer is missing, or given twice.
        """
        found = tuple(pair.given() for pair in self.pairs)
        paints = [pair.paint for pair in self.pairs]
        twice = next((each for each in paints if paints.count(each) > 1), None)
        if twice is not None:
            raise InputError(f"The annotation {twice.name!r} is given twice. Choose each layer once, or remove a pair.")
        return found

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()
