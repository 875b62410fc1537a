"""The visible part of a method's widget: inputs, plane or outlines to work in, settings, Run bar, boxes of objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from magicgui.widgets import CheckBox, ComboBox
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtWidgets import QPushButton, QWidget

from napari_tessera.core.errors import InputError
from napari_tessera.core.jobs import Progress
from napari_tessera.core.region import Region
from napari_tessera.gui.form.field import fit_in_form
from napari_tessera.gui.form.form import Form
from napari_tessera.gui.form.layer_combo import LayerBox
from napari_tessera.gui.form.model_field import read_models_once
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.add import boxes_layer, has_boxes
from napari_tessera.gui.layers.read import (
    array_of,
    axis_names,
    channel_names,
    check_plane_shown,
    is_rgb,
    labels_of,
    list_axes,
    made_from,
    outlines_of,
    planes_shown,
    short_unit,
)
from napari_tessera.gui.method.histogram import HistogramBox, has_histogram
from napari_tessera.gui.method.inputs import FollowedLayer, InputsBox
from napari_tessera.gui.method.object_table import MeasureAgainButton
from napari_tessera.gui.method.preview_and_estimate import ForecastLine
from napari_tessera.gui.qt.in_steps import BuiltInSteps, Steps
from napari_tessera.gui.qt.layout import (
    AsTallAsContent,
    Rows,
    Section,
    column_of,
    fill_dock,
    wrapped_label,
)
from napari_tessera.gui.qt.run_bar import RunBar, RunKeys
from napari_tessera.gui.qt.worker import Runner
from napari_tessera.methods.registry import method_named

PLANE_HELP = "Segment only the plane that the viewer shows, in 2-D."
SHAPES_HELP = "Segment only inside the outlines drawn in this layer."
SELECTED_HELP = "Use the shapes that are selected in the layer, not all."
INTENSITIES_HELP = (
    "Image whose intensities are in the table. It has the shape of the labels; the labels do not depend on it."
)


class IntensityBox(LayerBox):
    """The box of the image whose intensities are measured in labels, for methods that take labels only.

    It offers the images that have the shape of the labels, and chooses the one that they were made from.
    """

    def __init__(self, viewer: ViewerModel, inputs: InputsBox) -> None:
        self._inputs = inputs
        self._labels: Layer | None = None
        super().__init__(viewer, (Image,), "Measure in", tooltip(INTENSITIES_HELP), is_optional=True)
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


class RegionBox:
    """The rows that choose the region of a run: the current plane, and outlines drawn in a layer."""

    def __init__(self, viewer: ViewerModel, rows: Rows) -> None:
        self.viewer = viewer
        self._rows = rows
        self.plane_only = CheckBox(text="Current plane only", tooltip=tooltip(PLANE_HELP))
        self.shapes = LayerBox(viewer, (Shapes,), "Inside shapes", tooltip(SHAPES_HELP), is_optional=True)
        self.selected_only = CheckBox(text="Selected shapes only", tooltip=tooltip(SELECTED_HELP))
        rows.add("", self.plane_only.native)
        rows.add(self.shapes.title, self.shapes.native, self.shapes.help)
        rows.add("", self.selected_only.native)
        self.shapes.on_change(self._show_selected_only)
        self._show_selected_only()

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever another region is chosen."""
        for box in (self.plane_only, self.selected_only, self.shapes.combo):
            box.changed.connect(lambda *_: callback())

    def region(self, image: Layer, axes: str) -> Region | None:
        """Return the chosen region in pixels of `image`; None means the whole image."""
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
        """Return the index of the plane shown along each axis but Y, X and channels; the viewer must show Y and X."""
        check_plane_shown(image, axes, self.viewer.dims)
        return planes_shown(image, axes, self.viewer.dims.point)

    def _show_selected_only(self) -> None:
        self._rows.show_row(self.selected_only.native, self.shapes.layer is not None)


def has_planes(axes: str) -> bool:
    """Return whether an image has an axis other than Y, X and channels."""
    return any(axis not in "YXC" for axis in axes)


SHOW, HIDE = "Show boxes", "Hide boxes"
BOXES_HELP = "The box of each object with its class and score, as a layer of rectangles."


class BoxesButton(QPushButton):
    """Shows and hides the boxes of the last result; the layer is made at the first click."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(SHOW)
        self.setToolTip(tooltip(BOXES_HELP))
        self.viewer = viewer
        self.boxes: Shapes | None = None
        self._labels: Labels | None = None
        self.runner = Runner()
        self.runner.progressed.connect(self._on_progress)
        self.runner.returned.connect(self._add)
        self.runner.failed.connect(self._on_failed)
        self.clicked.connect(self.press)
        self.hide()

    def offer(self, layers: Sequence[Layer]) -> None:
        """Show the button if one of these layers has boxes; the first such layer is used."""
        if self.boxes is not None and self.boxes in self.viewer.layers:
            self.boxes.visible = False
        self._follow(None)
        self._labels = next((layer for layer in layers if isinstance(layer, Labels) and has_boxes(layer)), None)
        self.refresh()

    def close_down(self) -> None:
        """Stop, and forget the layers."""
        self.runner.cancel()
        self._follow(None)
        self._labels = None

    def press(self) -> None:
        """Show the boxes, or hide them."""
        if self.boxes is not None and self.boxes in self.viewer.layers:
            self.boxes.visible = not self.boxes.visible
        elif self._labels is not None and not self.runner.is_running:
            self.setEnabled(False)
            self._on_progress(Progress(0, 1, "Drawing the boxes"))
            self.runner.start(boxes_layer(self._labels))

    def _on_progress(self, step: Progress) -> None:
        self.setText(f"{step.text} … {100 * step.fraction:.0f} %")

    def _on_failed(self, *_: Any) -> None:
        self.setEnabled(True)
        self.refresh()

    def _add(self, boxes: Shapes) -> None:
        self.setEnabled(True)
        if self._labels is None or self._labels not in self.viewer.layers:
            return
        self._follow(boxes)
        self.viewer.add_layer(boxes)
        # napari shows the features under the mouse of the active layer only; the objects have more than the boxes.
        self.viewer.layers.selection.active = self._labels
        self.refresh()

    def _follow(self, boxes: Shapes | None) -> None:
        if self.boxes is not None:
            self.boxes.events.visible.disconnect(self.refresh)
        if boxes is not None:
            boxes.events.visible.connect(self.refresh)
        self.boxes = boxes

    def refresh(self, *_: Any) -> None:
        """Update the button after layers were shown, hidden or deleted."""
        is_shown = self.boxes is not None and self.boxes in self.viewer.layers and self.boxes.visible
        self.setText(HIDE if is_shown else SHOW)
        self.setVisible(self._labels is not None and self._labels in self.viewer.layers)


PIXELS, LAYER_UNITS = "pixels", "units of the layer"
SIZES_HELP = "Unit of the lengths and areas in this form."
PREVIEW_HELP = "Show the effect of the settings on the visible part of the plane while you change them."


class Panel(BuiltInSteps):
    """The visible part of a method's widget; it follows the chosen layer, and runs nothing."""

    method_name: ClassVar[str]

    @classmethod
    def prepare(cls) -> None:
        """Read the method's declaration, and the models if it has one."""
        if any(each.model for each in method_named(cls.method_name).parameters):
            read_models_once()

    def build(self) -> Steps:
        """Put the empty rows in place, and fill them."""
        self.method = method_named(self.method_name)
        self.input_rows, self.more = Rows(), Rows()
        self.form = Form(self.method)
        self.histogram = HistogramBox() if has_histogram(self.method) else None
        self.preview_switch = CheckBox(text="Live preview", tooltip=tooltip(PREVIEW_HELP))
        self.forecast = ForecastLine()
        self.bar = RunBar()
        self.boxes = BoxesButton(self.viewer)
        self.table = MeasureAgainButton(self.viewer, self.method)
        yield
        self._lay_out()
        yield
        self._add_inputs()
        yield
        yield from self.form.add_fields()
        yield
        self._add_more()
        yield
        self.keys = RunKeys(self, self.bar, self.viewer)
        self.inputs.on_change(self.follow_layer)
        self.form.on_change(self._show_rows)
        self.sizes.changed.connect(lambda *_: self._show_sizes())
        self.follow_layer()

    def sections(self) -> list[QWidget]:
        """Return the sections that scroll, from top to bottom."""
        self.more_settings = Section("More settings", column_of(self.form.more, self.more))
        histogram = [] if self.histogram is None else [self.histogram]
        return [self.input_rows, *histogram, self.form.main, self.more_settings]

    def follow_layer(self) -> None:
        """Fit the form to the chosen layer: its axes, unit and intensities."""
        layer, axes = self.inputs.main.layer, self.inputs.axes
        if self.intensities is not None:
            self.intensities.follow()
        self.form.show_axes(axes, channel_names(layer, axes))
        self.more.show_row(self.region.plane_only.native, has_planes(axes))
        if isinstance(layer, Image):
            self.form.show_intensities(*layer.contrast_limits_range)
        self._offer_units()
        self._show_sizes()
        self._show_rows()

    def _lay_out(self) -> None:
        summary = wrapped_label()
        summary.setText(self.method.summary)
        switch = [self.preview_switch.native] if self.method.has_preview else []
        scrolled = AsTallAsContent(column_of(*self.sections(), spacing=8))
        fill_dock(self, summary, scrolled, *switch, self.forecast, self.bar, self.boxes, self.table)

    def _add_inputs(self) -> None:
        self.inputs = InputsBox(self.viewer, self.method, self.input_rows)
        is_measured = not self.method.takes_image and not self.inputs.has_truth
        self.intensities = IntensityBox(self.viewer, self.inputs) if is_measured else None
        if self.intensities is not None:
            self.input_rows.add(self.intensities.title, self.intensities.native, self.intensities.help)
        self.followed = FollowedLayer(self.inputs.main, is_following=not self.inputs.has_truth)

    def _add_more(self) -> None:
        """Add the units and the region, under "More settings"."""
        self.sizes = ComboBox(choices=[PIXELS], tooltip=tooltip(SIZES_HELP))
        fit_in_form(self.sizes.native)
        self._is_unit_chosen = False
        self.sizes.native.activated.connect(self._on_unit_chosen)
        self.more.add("Units", self.sizes.native, self.sizes.tooltip or "")
        self.region = RegionBox(self.viewer, self.more)

    def _offer_units(self) -> None:
        layer = self.inputs.main.layer
        units = [PIXELS]
        if layer is not None and self.inputs.spacing is not None:
            unit = short_unit(layer)
            units.append(LAYER_UNITS if unit == "px" else unit)
        usual = PIXELS if units[-1] == LAYER_UNITS else units[-1]
        with self.sizes.changed.blocked():
            chosen = self.sizes.value if self._is_unit_chosen else usual
            self.sizes.choices = units
            self.sizes.value = chosen if chosen in units else usual
        self.more.show_row(self.sizes.native, len(units) > 1)

    def _on_unit_chosen(self, *_: Any) -> None:
        self._is_unit_chosen = True

    def _show_sizes(self) -> None:
        n_space = sum(axis in "ZYX" for axis in self.inputs.axes)
        spacing = None if self.sizes.value == PIXELS else self.inputs.spacing
        unit = "" if self.sizes.value == LAYER_UNITS else self.sizes.value
        self.form.show_sizes(spacing, unit, n_space)

    def _show_rows(self) -> None:
        self.inputs.show_rows(self.form.values)
