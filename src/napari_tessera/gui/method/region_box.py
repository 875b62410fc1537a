"""Which part of the image to work on: the plane shown, and the inside of drawn outlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import CheckBox
from napari.components import ViewerModel
from napari.layers import Layer, Shapes

from napari_tessera.core.errors import InputError
from napari_tessera.core.region import Region
from napari_tessera.gui.form.form import Rows
from napari_tessera.gui.form.layer_combo import LayerBox
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.read import check_plane_shown, outlines_of, planes_shown


class RegionBox:
    """The rows that say where to work.

    Attributes
    ----------
    plane_only : magicgui check box
    shapes : LayerBox
    selected_only : magicgui check box
    """

    def __init__(self, viewer: ViewerModel, rows: Rows) -> None:
        self.viewer = viewer
        self._rows = rows
        self.plane_only = CheckBox(
            text="Current plane only", tooltip=tooltip("Work only on the plane that the viewer shows. Z becomes 2-D.")
        )
        self.shapes = LayerBox.for_shapes(viewer)
        self.selected_only = CheckBox(
            text="Selected shapes only", tooltip=tooltip("Use the shapes that are selected in the layer, not all.")
        )
        rows.add("", self.plane_only.native)
        rows.add(self.shapes.title, self.shapes.native, self.shapes.combo.tooltip or "")
        rows.add("", self.selected_only.native)
        self.shapes.on_change(self._show_selected_only)
        self._show_selected_only()

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever another part is chosen."""
        self.plane_only.changed.connect(lambda *_: callback())
        self.selected_only.changed.connect(lambda *_: callback())
        self.shapes.on_change(callback)

    def show_plane_only(self, has_planes: bool) -> None:
        """Offer single planes only where the image has several."""
        self._rows.show_row(self.plane_only.native, has_planes)

    def region(self, image: Layer, axes: str) -> Region | None:
        """Return the part chosen, in pixels of `image`; None is all of it.

        Raises
        ------
        InputError
            If outlines are asked for but there are none, or a plane is asked for while the viewer shows another one.
        """
        is_plane_only = self.plane_only.value and has_planes(axes)
        planes = self.planes(image, axes) if is_plane_only else {}
        shapes = self.shapes.layer
        outlines = outlines_of(shapes, image, axes, self.selected_only.value) if isinstance(shapes, Shapes) else ()
        if shapes is not None and not outlines:
            which = "no selected shape" if self.selected_only.value else "no shape"
            raise InputError(
                f"The layer {shapes.name!r} has {which} that encloses an area. Draw or select a rectangle, ellipse or "
                'polygon, or choose "(none)".'
            )
        return Region(planes, outlines) if planes or outlines else None

    def planes(self, image: Layer, axes: str) -> dict[str, int]:
        """Return the plane that the viewer shows.

        Raises
        ------
        InputError
            If that is none of Y and X.
        """
        check_plane_shown(image, axes, self.viewer.dims)
        return planes_shown(image, axes, self.viewer.dims.point)

    def _show_selected_only(self) -> None:
        self._rows.show_row(self.selected_only.native, self.shapes.layer is not None)


def has_planes(axes: str) -> bool:
    """Return whether there are several planes along some axis; channels are none."""
    return any(axis not in "YXC" for axis in axes)
