"""The rows of a form that limit a run to the plane shown, or to drawn outlines."""

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
    """The rows that choose the region of a run.

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
            text="Current plane only", tooltip=tooltip("Segment only the plane that the viewer shows, in 2-D.")
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
        """Call `callback` whenever another region is chosen."""
        self.plane_only.changed.connect(lambda *_: callback())
        self.selected_only.changed.connect(lambda *_: callback())
        self.shapes.on_change(callback)

    def show_plane_only(self, has_planes: bool) -> None:
        """Show the check box for the current plane if the image has several planes."""
        self._rows.show_row(self.plane_only.native, has_planes)

    def region(self, image: Layer, axes: str) -> Region | None:
        """Return the chosen region in pixels of `image`; None means the whole image.

        Raises
        ------
        InputError
            If the shapes layer has no outline, or the viewer does not show Y and X.
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
        """Return the index of the plane shown along each axis except Y, X and channels.

        Raises
        ------
        InputError
            If the viewer does not show Y and X.
        """
        check_plane_shown(image, axes, self.viewer.dims)
        return planes_shown(image, axes, self.viewer.dims.point)

    def _show_selected_only(self) -> None:
        self._rows.show_row(self.selected_only.native, self.shapes.layer is not None)


def has_planes(axes: str) -> bool:
    """Return whether an image has an axis other than Y, X and channels."""
    return any(axis not in "YXC" for axis in axes)
