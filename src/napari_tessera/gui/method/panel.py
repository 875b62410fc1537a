"""The visible part of a method's widget: inputs, plane or outlines to work in, settings, cost estimate and Run bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox
from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from qtpy.QtCore import QSize, QTimer
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.core.errors import InputError, TesseraError
from napari_tessera.core.method import Method
from napari_tessera.core.region import Region
from napari_tessera.gui.form.field import let_shrink
from napari_tessera.gui.form.form import Form
from napari_tessera.gui.form.layer_combo import LayerBox
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.read import check_plane_shown, outlines_of, planes_shown, short_unit
from napari_tessera.gui.method.bounding_boxes import BoxesButton
from napari_tessera.gui.method.inputs import InputsBox
from napari_tessera.gui.method.run_request import RunRequest, estimate_cost
from napari_tessera.gui.qt.docking import Placing
from napari_tessera.gui.qt.layout import (
    NOTE_STYLE,
    PLAIN_STYLE,
    AsTallAsContent,
    Rows,
    Shrinking,
    collapsible,
    column_of,
)
from napari_tessera.gui.qt.run_bar import RunBar
from napari_tessera.gui.qt.run_keys import RunKeys
from napari_tessera.gui.qt.worker import LatestOnlyWorker

if TYPE_CHECKING:
    from napari_tessera.engine.cost_estimate import Forecast


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


SETTLE_MS = 150
"""Changes within this time lead to one estimate."""
UNKNOWN = "Estimating time and memory …"


class ForecastLine(QLabel):
    """Shows the device, time and memory of a run, estimated in a thread whenever the request changes."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setStyleSheet(PLAIN_STYLE)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.latest = LatestOnlyWorker()
        self.latest.ready.connect(self._show)
        self.latest.failed.connect(self._say_failed)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._ask)
        self._question: Callable[[], RunRequest] | None = None
        self._is_busy: Callable[[], bool] = bool
        self.hide()

    def follow(self, question: Callable[[], RunRequest], is_busy: Callable[[], bool]) -> None:
        """Show the line from now on; `question` reads the widget, and nothing is measured while `is_busy`."""
        self._question, self._is_busy = question, is_busy
        self.update_soon()

    def update_soon(self, *_: Any) -> None:
        """Update the estimate soon."""
        if self._question is not None:
            self._timer.start()

    def close_down(self) -> None:
        """Stop estimating."""
        self._question = None
        self._timer.stop()
        self.latest.stop()

    def _ask(self) -> None:
        if self._question is None:
            return
        try:
            question = self._question()
        except TesseraError:
            # Run shows what is missing; until then there is nothing to estimate.
            self.hide()
            return
        except Exception as error:
            self._say_failed(error)
            return
        if not self.text():
            self._say(UNKNOWN)
        self.latest.ask(None, estimate_cost(question, self._is_busy))

    def _show(self, _: None, forecast: Forecast | None) -> None:
        if forecast is None:
            self.hide()
        else:
            self._say(forecast.sentence, forecast.is_too_large)

    def _say_failed(self, error: Exception) -> None:
        if isinstance(error, TesseraError):
            self._say(str(error), is_warning=True)
        else:
            self._say("The time is unknown.")

    def _say(self, text: str, is_warning: bool = False) -> None:
        self.setText(text)
        self.setStyleSheet(NOTE_STYLE if is_warning else PLAIN_STYLE)
        self.show()


WIDTH_PX = 320

PIXELS, LAYER_UNITS = "pixels", "units of the layer"
SIZES_HELP = "Unit of the lengths and areas in this form."
PREVIEW_HELP = "Show the effect of the settings on the visible part of the plane while you change them."


class Panel(QWidget):
    """The visible part of a method's widget; it follows the chosen layer, and runs nothing.

    Attributes
    ----------
    inputs : InputsBox
    form : Form
    region : RegionBox
    sizes : magicgui combo box
        Whether sizes are shown in pixels or in the layer's unit.
    preview_switch : magicgui check box
    forecast : ForecastLine
        Hidden for methods without a network.
    bar : RunBar
    boxes : BoxesButton
        Hidden if the objects have no boxes.
    """

    def __init__(self, viewer: ViewerModel, method: Method) -> None:
        super().__init__()
        self.viewer = viewer
        self.method = method
        self.input_rows, self.more = Rows(), Rows()
        self.inputs = InputsBox(viewer, method, self.input_rows)
        self.form = Form(method)
        self.sizes = ComboBox(choices=[PIXELS], tooltip=tooltip(SIZES_HELP))
        let_shrink(self.sizes.native)
        self.more.add("Units", self.sizes.native, self.sizes.tooltip or "")
        self.region = RegionBox(viewer, self.more)
        self.preview_switch = CheckBox(text="Live preview", tooltip=tooltip(PREVIEW_HELP))
        self.forecast = ForecastLine()
        self.bar = RunBar()
        self.boxes = BoxesButton(viewer)
        self._lay_out()
        self.placing = Placing(self)
        self.keys = RunKeys(self, self.bar)
        self.inputs.on_change(self.follow_layer)
        self.form.on_change(self._show_rows)
        self.sizes.changed.connect(lambda *_: self._show_sizes())
        self.follow_layer()

    def sections(self) -> list[QWidget]:
        """Return the sections that scroll, from top to bottom."""
        self.more_settings = collapsible("More settings", column_of(self.form.more, self.more))
        return [self.input_rows, self.form.main, self.more_settings]

    def sizeHint(self) -> QSize:
        """Return a fixed width, whichever rows are shown."""
        return QSize(WIDTH_PX, super().sizeHint().height())

    def follow_layer(self) -> None:
        """Fit the form to the chosen layer: its axes, unit and intensities."""
        layer, axes = self.inputs.main.layer, self.inputs.axes
        self.form.show_axes(axes)
        self.region.show_plane_only(has_planes(axes))
        if isinstance(layer, Image):
            self.form.show_intensities(*layer.contrast_limits_range)
        self._offer_units()
        self._show_sizes()
        self._show_rows()

    def _offer_units(self) -> None:
        layer = self.inputs.main.layer
        units = [PIXELS]
        if layer is not None and self.inputs.spacing is not None:
            unit = short_unit(layer)
            units.append(LAYER_UNITS if unit == "px" else unit)
        with self.sizes.changed.blocked():
            chosen = self.sizes.value
            self.sizes.choices = units
            self.sizes.value = chosen if chosen in units else PIXELS
        self.more.show_row(self.sizes.native, len(units) > 1)

    def _show_sizes(self) -> None:
        n_space = sum(axis in "ZYX" for axis in self.inputs.axes)
        spacing = None if self.sizes.value == PIXELS else self.inputs.spacing
        unit = "" if self.sizes.value == LAYER_UNITS else self.sizes.value
        self.form.show_sizes(spacing, unit, n_space)

    def _show_rows(self) -> None:
        self.inputs.show_rows(self.form.values)

    def _lay_out(self) -> None:
        summary = QLabel(self.method.summary)
        summary.setWordWrap(True)
        summary.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(8, 6, 8, 8)
        layout.setSpacing(8)
        layout.addWidget(summary)
        layout.addWidget(AsTallAsContent(column_of(*self.sections(), spacing=8)))
        if self.method.has_preview:
            layout.addWidget(self.preview_switch.native)
        layout.addWidget(self.forecast)
        layout.addWidget(self.bar)
        layout.addWidget(self.boxes)
        layout.addStretch(1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(Shrinking(content))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumWidth(WIDTH_PX)
