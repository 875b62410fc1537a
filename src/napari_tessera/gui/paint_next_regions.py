"""The regions in which a model is least sure as a layer of rectangles, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer, Shapes

from napari_tessera.gui.layers import camera_of, is_rgb, place
from napari_tessera.gui.new_layers import has_channel_axis, placed_at, spanning_channels

if TYPE_CHECKING:
    from napari_tessera.train.least_sure import Unsure

COLOUR, COLOUR_HERE = "#56b4e9", "#f0e442"
TO_EDGE = -0.5
"""Windows are counted from the edge of the first pixel, and a layer's coordinates from its centre."""
SHARE_OF_SIDE, THINNEST_PX = 0.03, 0.5
SMALLEST_SHOWN_PX, LARGEST_SHOWN_PX, SHOWN_PX = 80, 400, 180
"""Sides of a region on the screen: outside of these, the camera is moved nearer or farther."""


def regions_layer(regions: Sequence[Unsure], image: Layer, axes: str, ndim: int) -> Shapes:
    """Make a layer of rectangles where the image lies, numbered from the least sure on; no viewer holds it yet.

    Parameters
    ----------
    regions : sequence of Unsure
    image : napari.layers.Layer
    axes : str
        One letter for each axis of the image's array.
    ndim : {2, 3}
        How many of them were seen together.
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


def _corners(region: Unsure, letters: str, ndim: int) -> np.ndarray:
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
    """Bring a region into view: its plane onto the sliders, its middle into that of the canvas."""
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
