"""What a method's widget shows: layers, settings, Run and Cancel. It follows the chosen layer, and runs nothing."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_tessera.gui.boxes_button import BoxesButton
from napari_tessera.gui.docking import Placing
from napari_tessera.gui.field import let_shrink
from napari_tessera.gui.forecast_line import ForecastLine
from napari_tessera.gui.form import Form
from napari_tessera.gui.inputs_box import InputsBox
from napari_tessera.gui.layers import short_unit
from napari_tessera.gui.region_box import RegionBox, has_planes
from napari_tessera.gui.rows import AsTallAsContent, Rows, Shrinking, collapsible, column_of
from napari_tessera.gui.run_bar import RunBar
from napari_tessera.gui.wording import tooltip
from napari_tessera.registry import Method

WIDTH_PX = 320
METHODS_WITH_PREVIEW = ("threshold", "kmeans", "watershed")

PIXELS, LAYER_UNITS = "pixels", "units of the layer"
SIZES_HELP = "Unit of the lengths and areas in this form."
PREVIEW_HELP = "Show what the settings do to the part of the plane that is in sight, as you change them. Run decides."


class Panel(QWidget):
    """The visible half of a method's widget.

    Attributes
    ----------
    inputs : InputsBox
    form : Form
    region : RegionBox
    sizes : magicgui combo box
        Whether sizes are shown in pixels or in the layer's unit.
    preview_switch : magicgui check box
    forecast : ForecastLine
        Stays hidden where no network runs.
    bar : RunBar
    boxes : BoxesButton
        Stays hidden where objects have no boxes.
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
        self.more.add("Sizes in", self.sizes.native, self.sizes.tooltip or "")
        self.region = RegionBox(viewer, self.more)
        self.preview_switch = CheckBox(text="Live preview", tooltip=tooltip(PREVIEW_HELP))
        self.forecast = ForecastLine()
        self.bar = RunBar()
        self.boxes = BoxesButton(viewer)
        self._lay_out()
        self.placing = Placing(self)
        self.inputs.on_change(self.follow_layer)
        self.form.on_change(self._show_rows)
        self.sizes.changed.connect(lambda *_: self._show_sizes())
        self.follow_layer()

    def sections(self) -> list[QWidget]:
        """Parts that scroll, from top to bottom."""
        self.more_settings = collapsible("More settings", column_of(self.form.more, self.more))
        return [self.input_rows, self.form.main, self.more_settings]

    def sizeHint(self) -> QSize:
        """Keep the width, whatever rows are shown."""
        return QSize(WIDTH_PX, super().sizeHint().height())

    def follow_layer(self) -> None:
        """Fit the form to the layer chosen: its axes, unit and intensities."""
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
        if self.method.name in METHODS_WITH_PREVIEW:
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
