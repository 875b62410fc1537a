"""The button "Where to paint next": find the regions where a model is least certain, and go to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.sparse_array import SparseArray
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.add import has_channel_axis, placed_at, spanning_channels
from napari_tessera.gui.layers.read import array_of, camera_of, is_rgb, labels_of, place
from napari_tessera.gui.qt.buttons import OnceButton
from napari_tessera.gui.qt.worker import Runner, sentence, showing_errors
from napari_tessera.training.active_learning import where_to_paint
from napari_tessera.training.interactive import AnnotatedLayer

if TYPE_CHECKING:
    from napari_tessera.training.active_learning import UncertainRegion


COLOUR, COLOUR_HERE = "#56b4e9", "#f0e442"
TO_EDGE = -0.5
"""Windows are measured from the edge of the first pixel, and a layer's coordinates from its centre."""
SHARE_OF_SIDE, THINNEST_PX = 0.03, 0.5
SMALLEST_SHOWN_PX, LARGEST_SHOWN_PX, SHOWN_PX = 80, 400, 180
"""Sides of a region on the screen; outside of these limits, the camera zooms."""


def regions_layer(regions: Sequence[UncertainRegion], image: Layer, axes: str, ndim: int) -> Shapes:
    """Make a layer of numbered rectangles over the image, the least certain first, without adding it to a viewer.

    Parameters
    ----------
    regions : sequence of UncertainRegion
    image : napari.layers.Layer
    axes : str
        One letter for each axis of the image's array.
    ndim : {2, 3}
        Number of axes that are segmented together.
    """
    placement = place(image, axes)
    letters = (axes[:-1] if is_rgb(image) else axes) if has_channel_axis(placement) else placement.spatial.axes
    spatial = spanning_channels(placement) if has_channel_axis(placement) else placement.spatial
    rectangles = [_corners(region, letters, ndim) for region in regions]
    sides = [part.stop - part.start for region in regions for part in region.window[-2:]]
    return Shapes(
        rectangles,
        shape_type="rectangle",
        name=f"{image.name} · paint next",
        features={"rank": np.arange(1, len(regions) + 1), "unsure": [round(region.doubt, 2) for region in regions]},
        face_color="transparent",
        edge_color=COLOUR,
        edge_width=max(SHARE_OF_SIDE * float(np.median(sides)), THINNEST_PX),
        text={"string": "{rank}", "anchor": "upper_left", "color": COLOUR_HERE, "size": 11},
        **placed_at(spatial),
    )


def _corners(region: UncertainRegion, letters: str, ndim: int) -> np.ndarray:
    """Return the four corners, one column for each letter."""
    space = "ZYX"[-ndim:]
    outer = [axis for axis in letters if axis not in space and axis != "C"]
    at = {**dict(zip(outer, region.place, strict=True)), "C": 0}
    at |= {axis: part.start for axis, part in zip(space, region.window, strict=True)}
    rows, columns = region.window[-2:]
    corners = [(y, x) for y in (rows.start, rows.stop) for x in (columns.start, columns.stop)]
    in_order = [corners[number] for number in (0, 1, 3, 2)]
    return np.array(
        [
            [{"Y": y + TO_EDGE, "X": x + TO_EDGE}.get(axis, at[axis]) for axis in letters]
            for y, x in in_order
        ],
        float,
    )  # fmt: skip


def go_to(viewer: ViewerModel, regions: Shapes, number: int) -> None:
    """Bring a region into view: move the sliders to its plane, and the camera to its centre."""
    corners = np.array([regions.data_to_world(corner) for corner in np.asarray(regions.data[number])])
    middle = corners.mean(axis=0)
    hidden = viewer.dims.ndim - len(middle)
    viewer.dims.ndisplay = 2
    shown = [axis - hidden for axis in viewer.dims.displayed]
    for axis in range(len(middle)):
        if axis not in shown:
            viewer.dims.set_point(axis + hidden, middle[axis])
    camera = camera_of(viewer)
    camera.center = (0.0, *(float(middle[axis]) for axis in shown))
    side = float(np.ptp(corners, axis=0)[shown].max())
    if not SMALLEST_SHOWN_PX <= side * camera.zoom <= LARGEST_SHOWN_PX:
        camera.zoom = SHOWN_PX / side
    regions.edge_color = [COLOUR_HERE if each == number else COLOUR for each in range(len(regions.data))]


FIND, CANCEL = "Where to paint next", "Cancel"
HELP = (
    "Search the image for the places where the model is least certain: annotation there helps most. The next training "
    "starts from this model."
)
NEXT_HELP = "Go to the next place, on any plane."
CERTAIN = "The model is certain everywhere it was tried. Paint where you see that it is wrong."
SECONDS_TO_STOP = 1.0


@dataclass(frozen=True)
class SuggestionRequest:
    """An image, its annotation, and a model, to search for uncertain regions.

    Attributes
    ----------
    image : napari.layers.Layer
    axes : str
        One letter for each axis of the image's array.
    model : Path
    annotation : napari.layers.Labels or None
        Painted pixels are left out.
    ndim : {2, 3}
        Number of the last axes that are segmented together.
    diameter_px : float or None
        Usual diameter of the objects; None means an automatic value.
    """

    image: Layer
    axes: str
    model: Path
    annotation: Labels | None = None
    ndim: int = 2
    diameter_px: float | None = None

    def given(self) -> AnnotatedLayer:
        """Return the arrays."""
        image = array_of(self.image)
        spatial = place(self.image, self.axes).spatial
        size = dict(zip(spatial.axes, spatial.scale, strict=True))
        sides = [length for length, axis in zip(image.shape, self.axes, strict=True) if axis != "C"]
        paint = SparseArray(sides, "uint8") if self.annotation is None else labels_of(self.annotation, self.axes)
        return AnnotatedLayer(self.image.name, image, paint, self.axes, abs(size.get("Z", size["X"]) / size["X"]))


class PaintNext(QWidget):
    """The buttons "Where to paint next" and "Next".

    Parameters
    ----------
    viewer : napari viewer
    asked : function () -> SuggestionRequest
        Returns the request; it may raise a `TesseraError`, which is shown.

    Attributes
    ----------
    layer : napari.layers.Shapes or None
        The places, the least certain first.
    current : int
        Index of the place in view.
    """

    def __init__(self, viewer: ViewerModel, asked: Callable[[], SuggestionRequest]) -> None:
        super().__init__()
        self.viewer = viewer
        self.layer: Shapes | None = None
        self.current = -1
        self._ask = asked
        self._asked: SuggestionRequest | None = None
        self.runner = Runner()
        self.runner.progressed.connect(self._on_progress)
        self.runner.returned.connect(self._on_found)
        self.runner.failed.connect(self.show_error)
        self.runner.cancelled.connect(lambda: self._on_ended("Cancelled."))
        self.find_button = OnceButton(FIND)
        self.find_button.setToolTip(tooltip(HELP))
        self.find_button.pressed_once.connect(self.press)
        self.next_button = QPushButton("Next")
        self.next_button.setToolTip(tooltip(NEXT_HELP))
        self.next_button.clicked.connect(self.go_on)
        self.progress_bar = QProgressBar()
        self.message = QLabel()
        self._lay_out()

    @showing_errors
    def press(self) -> None:
        """Find the places, or cancel the search."""
        if self.runner.is_running:
            self.runner.cancel()
            return
        self._asked = self._ask()
        job = looking(self._asked)
        self.find_button.setText(CANCEL)
        self.next_button.hide()
        self.progress_bar.setValue(0)
        self.progress_bar.show()
        self._say("Searching for the places where the model is least certain …")
        self.runner.start(job)

    @showing_errors
    def go_on(self) -> None:
        """Go to the next place; after the last one comes the first."""
        if self.layer is None or self.layer not in self.viewer.layers or not len(self.layer.data):
            self.next_button.hide()
            self._say("The places were deleted. Search again.")
            return
        count = len(self.layer.data)
        self.current = (self.current + 1) % count
        go_to(self.viewer, self.layer, self.current)
        unsure = self.layer.features["unsure"].iloc[self.current]
        self._say(f"Place {self.current + 1} of {count} ({unsure:.0%} uncertain). Paint what is right there.")
        annotation = self._asked.annotation if self._asked is not None else None
        if annotation is not None and annotation in self.viewer.layers:
            self.viewer.layers.selection.active = annotation

    def forget(self) -> None:
        """Remove the places; they belong to one model and one image."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer, self.current = None, -1
        self.next_button.hide()
        self._say("")

    def close_down(self) -> None:
        """Stop searching; called when the widget is closed."""
        self.runner.cancel()
        self.runner.wait(SECONDS_TO_STOP)

    def _on_progress(self, step: Progress) -> None:
        if self.runner.is_running:
            self.progress_bar.setValue(round(100 * step.fraction))

    @showing_errors
    def _on_found(self, regions: Sequence[UncertainRegion]) -> None:
        self.forget()
        self._on_ended(CERTAIN)
        asked = self._asked
        if not regions or asked is None or asked.image not in self.viewer.layers:
            return
        active = self.viewer.layers.selection.active
        self.layer = self.viewer.add_layer(regions_layer(regions, asked.image, asked.axes, asked.ndim))
        self.viewer.layers.selection.active = active
        self.next_button.show()
        self.go_on()

    def show_error(self, error: BaseException) -> None:
        """Show what went wrong."""
        self._on_ended(sentence(error))

    def _on_ended(self, text: str) -> None:
        self.find_button.setText(FIND)
        self.progress_bar.hide()
        self._say(text)

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _lay_out(self) -> None:
        self.message.setWordWrap(True)
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        self.message.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.progress_bar.setTextVisible(False)
        self.progress_bar.setFixedHeight(8)
        buttons = QHBoxLayout()
        buttons.addWidget(self.find_button, 1)
        buttons.addWidget(self.next_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        for widget in (self.progress_bar, self.message):
            layout.addWidget(widget)
            widget.hide()
        self.next_button.hide()


def looking(asked: SuggestionRequest) -> Job[Sequence[UncertainRegion]]:
    """Return the job that finds uncertain regions.

    Raises
    ------
    InputError
        If the model was deleted.
    """
    if not asked.model.is_file():
        raise InputError(f"The model {asked.model.name!r} was deleted. Train one, or choose another.")
    return _looking(asked, asked.given())


def _looking(asked: SuggestionRequest, given: AnnotatedLayer) -> Job[Sequence[UncertainRegion]]:
    from napari_tessera.models.load_torch import load_torch

    yield from load_torch()
    from napari_tessera.training.annotations.read import painting_of

    painting = painting_of(
        given.name, given.image, given.paint, asked.ndim, axes=given.axes, anisotropy=given.anisotropy
    )
    return (yield from where_to_paint(asked.model, painting, asked.ndim, diameter_px=asked.diameter_px))
