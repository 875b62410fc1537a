"""The box of the image whose intensities are measured in labels, for methods that take labels only."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_tessera.gui.form.layer_combo import LayerBox
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.read import array_of, axis_names, is_rgb, labels_of, list_axes, made_from
from napari_tessera.gui.method.inputs import InputsBox

HELP = "Image whose intensities are in the table. It has the shape of the labels; the labels do not depend on it."


class IntensityBox(LayerBox):
    """Offers the images that have the shape of the chosen labels, and chooses the one that they were made from."""

    def __init__(self, viewer: ViewerModel, inputs: InputsBox) -> None:
        self._inputs = inputs
        self._labels: Layer | None = None
        super().__init__(viewer, (Image,), "Measure in", tooltip(HELP), is_optional=True)
        self.follow()

    @property
    def axes(self) -> str:
        """One letter for each axis of the chosen image; empty if none is chosen."""
        return "" if self.layer is None else self._axes_of(self.layer)

    def offered(self) -> list[Layer]:
        """Return the images with the shape of the labels, the topmost first."""
        return [layer for layer in super().offered() if self._axes_of(layer)]

    def follow(self) -> None:
        """Offer the images for the chosen labels, and choose one if other labels were chosen, or an image was added."""
        before, self._labels = self._labels, self._inputs.main.layer
        n_before = len(self.combo.choices)
        self.refresh()
        is_new = before is not self._labels or len(self.combo.choices) > n_before == 1
        offered = self.offered()
        if is_new and offered:
            self.layer = next((each for each in offered if made_from(self._labels) == str(each.unique_id)), offered[0])

    def _axes_of(self, image: Layer) -> str:
        """Return the axes of an image if without channels they are those of the labels, with their shape; else ""."""
        labels, axes = self._inputs.main.layer, self._inputs.axes
        if labels is None:
            return ""
        sides = dict(zip(axes, labels_of(labels, axes).shape, strict=False))
        for _, found in list_axes(image.ndim, is_rgb(image), axis_names(image)):
            shape = dict(zip(found, array_of(image).shape, strict=True))
            shape.pop("C", None)
            if found.replace("C", "") == axes and shape == sides:
                return found
        return ""
