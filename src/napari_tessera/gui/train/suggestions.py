"""The button "Where to paint next": find the regions where a model is least certain, and go to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Shapes
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Job, Progress
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.add import has_channel_axis, placed_at, spanning_channels
from napari_tessera.gui.layers.annotation import annotated_layer
from napari_tessera.gui.layers.read import camera_of, is_rgb, place
from napari_tessera.gui.qt.buttons import OnceButton
from napari_tessera.gui.qt.layout import fill, wrapped_label
from napari_tessera.gui.qt.worker import Runner, sentence, showing_errors
from napari_tessera.training.active_learning import UncertainRegion, where_to_paint
from napari_tessera.training.interactive import AnnotatedLayer

COLOUR, COLOUR_HERE = "#56b4e9", "#f0e442"
TO_EDGE = -0.5
"""Windows are measured from the edge of the first pixel, and a layer's coordinates from its centre."""
SHARE_OF_SIDE, THINNEST_PX = 0.03, 0.5
SMALLEST_SHOWN_PX, LARGEST_SHOWN_PX, SHOWN_PX = 80, 400, 180
"""Sides of a region on the screen; outside of these limits, the camera zooms."""


def regions_layer(regions: Sequence[UncertainRegion], image: Layer, axes: str, ndim: int) -> Shapes:
    """Make a layer of numbered rectangles over the image, the least certain first, without adding it to a viewer."""
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
    ends = (columns.start, columns.stop)
    corners = [*((rows.start, x) for x in ends), *((rows.stop, x) for x in reversed(ends))]
    return np.array([[{**at, "Y": y + TO_EDGE, "X": x + TO_EDGE}[axis] for axis in letters] for y, x in corners])


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


@dataclass(frozen=True)
class SuggestionRequest:
    """An image, its annotation (painted pixels are left out), and a model, to search for uncertain regions.

    Attributes
    ----------
    axes : str
        One letter for each axis of the image's array.
    ndim : {2, 3}
        Number of the last axes that are segmented together.
    diameter_px : float or None
        Usual diameter of the objects; None means an automatic value.
    """

    image: Layer
    axes: str
    model: Path
    annotation: Labels
    ndim: int = 2
    diameter_px: float | None = None


class PaintNext(QWidget):
    """The buttons "Where to paint next" and "Next".

    Parameters
    ----------
    viewer : napari viewer
    make_request : function () -> SuggestionRequest
        It may raise a `TesseraError`, which is shown.

    Attributes
    ----------
    layer : napari.layers.Shapes or None
        The places, the least certain first.
    current : int
        Index of the place in view.
    """

    def __init__(self, viewer: ViewerModel, make_request: Callable[[], SuggestionRequest]) -> None:
        super().__init__()
        self.viewer = viewer
        self.layer: Shapes | None = None
        self.current = -1
        self._make_request = make_request
        self._request: SuggestionRequest | None = None
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
        self.message = wrapped_label()
        self._lay_out()

    @showing_errors
    def press(self) -> None:
        """Find the places, or cancel the search."""
        if self.runner.is_running:
            self.runner.cancel()
            return
        self._request = self._make_request()
        job = searching(self._request)
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
        if self._request is not None and self._request.annotation in self.viewer.layers:
            self.viewer.layers.selection.active = self._request.annotation

    def forget(self) -> None:
        """Remove the places; they belong to one model and one image."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer, self.current = None, -1
        self.next_button.hide()
        self._say("")

    def _on_progress(self, step: Progress) -> None:
        if self.runner.is_running:
            self.progress_bar.setValue(round(100 * step.fraction))

    @showing_errors
    def _on_found(self, regions: Sequence[UncertainRegion]) -> None:
        self.forget()
        self._on_ended(CERTAIN)
        request = self._request
        if not regions or request is None or request.image not in self.viewer.layers:
            return
        active = self.viewer.layers.selection.active
        self.layer = self.viewer.add_layer(regions_layer(regions, request.image, request.axes, request.ndim))
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
        self.progress_bar.setTextVisible(False)
        self.progress_bar.setFixedHeight(8)
        buttons = QHBoxLayout()
        buttons.addWidget(self.find_button, 1)
        buttons.addWidget(self.next_button)
        fill(QVBoxLayout(self), buttons, self.progress_bar, self.message)
        for widget in (self.progress_bar, self.message, self.next_button):
            widget.hide()


def searching(request: SuggestionRequest) -> Job[Sequence[UncertainRegion]]:
    """Return the job that finds uncertain regions, or raise an InputError if the model was deleted."""
    if not request.model.is_file():
        raise InputError(f"The model {request.model.name!r} was deleted. Train one, or choose another.")
    return _searching(request, annotated_layer(request.image, request.annotation, request.axes))


def _searching(request: SuggestionRequest, given: AnnotatedLayer) -> Job[Sequence[UncertainRegion]]:
    from napari_tessera.models.load_torch import load_torch

    yield from load_torch()
    from napari_tessera.training.annotations.read import painting_of

    image = painting_of(
        given.name, given.image, given.paint, request.ndim, axes=given.axes, anisotropy=given.anisotropy
    )
    return (yield from where_to_paint(request.model, image, request.ndim, diameter_px=request.diameter_px))
