"""The image that is pointed at: from the mouse to its pixels, and from its pixels to the canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_tessera.core.errors import InputError
from napari_tessera.gui.layers.read import array_of, check_plane_shown, planes_shown

Plane = tuple[int, ...]
"""Index along each axis of an image but Y, X and channels."""
Place = tuple[float, float]
"""Row and column, in pixels."""
Box = tuple[float, float, float, float]
"""First row and column, last row and column, in pixels."""
STEPS = {"Z": "plane", "T": "frame"}


@dataclass(frozen=True)
class Scene:
    """An image layer in a viewer.

    Attributes
    ----------
    axes : str
        One letter for each axis of the layer's array.
    """

    viewer: Any
    layer: Layer
    axes: str

    @property
    def outer(self) -> str:
        """The axes that are stepped through: all but Y, X and channels."""
        return "".join(axis for axis in self.axes if axis not in "YXC")

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes without channels."""
        sides = zip(self.axes, array_of(self.layer).shape, strict=True)
        return tuple(side for axis, side in sides if axis != "C")

    @property
    def channel_axis(self) -> int | None:
        """The axis of channels, or None."""
        return self.axes.index("C") if "C" in self.axes else None

    @property
    def followed_axis(self) -> int | None:
        """Index in `outer` of the axis along which an object is followed: Z, or else the last one; None in 2-D."""
        if not self.outer:
            return None
        return self.outer.index("Z") if "Z" in self.outer else len(self.outer) - 1

    @property
    def step_name(self) -> str:
        """What a step along the followed axis is: "plane", or "frame" of a film."""
        return "plane" if self.followed_axis is None else STEPS.get(self.outer[self.followed_axis], "plane")

    def check(self) -> None:
        """Raise InputError if the viewer does not show the image so that it can be pointed at."""
        name = self.layer.name
        if self.viewer.dims.ndisplay != 2:
            raise InputError(
                "Objects are pointed at in the plane shown: switch the viewer to 2-D (Ctrl-Y). An object is then "
                "followed through the planes with F."
            )
        if getattr(self.viewer, "canvas", self.viewer).grid.enabled:  # napari 0.9 moved it
            raise InputError("Objects are pointed at in one image: leave the grid view (Ctrl-G).")
        if not self.layer.visible:
            raise InputError(
                f"{name!r} is hidden: show it with the eye in the list of layers, and point at what you see."
            )
        check_plane_shown(self.layer, self.axes, self.viewer.dims)

    def plane(self) -> Plane:
        """Return the plane shown."""
        shown = planes_shown(self.layer, self.axes, self.viewer.dims.point)
        return tuple(shown[axis] for axis in self.outer)

    def place(self, position: Any) -> Place | None:
        """Return the pixel at a position in the viewer's world; None outside the image."""
        pixel = self.layer.world_to_data(position)
        y, x = (float(pixel[self.axes.index(axis)]) for axis in "YX")
        height, width = self.shape[-2:]
        return (y, x) if -0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5 else None

    def box(self, first: Any, last: Any) -> Box:
        """Return the box between two positions in the viewer's world, cut off at the image's edges."""
        places = np.array([self.layer.world_to_data(position) for position in (first, last)])
        places = places[:, [self.axes.index(axis) for axis in "YX"]].clip(0, np.array(self.shape[-2:]) - 1)
        (y0, x0), (y1, x1) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
        return y0, x0, y1, x1

    def to_canvas(self, plane: Plane) -> np.ndarray | None:
        """Return the (2, 3) matrix from pixels (y, x, 1) to the canvas (x, y); None if the plane is not shown."""
        canvas = self.viewer.window._qt_viewer.canvas
        try:
            self.check()
        except InputError:
            return None
        if self.plane() != plane or self.layer not in self.viewer.layers:
            return None
        hidden = self.viewer.dims.ndim - self.layer.ndim
        vertical, horizontal = (axis - hidden for axis in self.viewer.dims.displayed)
        indices = dict(zip(self.outer, plane, strict=True))

        def on_canvas(y: float, x: float) -> np.ndarray:
            pixel = [{"Y": y, "X": x}.get(axis, float(indices.get(axis, 0))) for axis in self.axes[: self.layer.ndim]]
            world = self.layer.data_to_world(pixel)
            return np.asarray(canvas.view.scene.transform.map((world[horizontal], world[vertical], 0, 1))[:2])

        origin = on_canvas(0, 0)
        return np.stack([on_canvas(1, 0) - origin, on_canvas(0, 1) - origin, origin], axis=1)


def distance(one: Any, other: Any) -> float:
    """Return the distance of two points on the canvas."""
    return math.dist(tuple(map(float, one)), tuple(map(float, other)))
