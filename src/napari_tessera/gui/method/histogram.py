"""The histogram in the form of Threshold: the rule's levels are drawn, and dragging one sets the level by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_tessera.core.errors import TesseraError
from napari_tessera.core.method import Method
from napari_tessera.engine.intensity_histogram import (
    LEVEL_DIGITS,
    HistogramCache,
    HistogramRequest,
    IntensityHistogram,
    intensity_histogram,
)
from napari_tessera.gui.form.number_field import Number
from napari_tessera.gui.form.text import tooltip
from napari_tessera.gui.layers.read import array_of
from napari_tessera.gui.qt.buttons import single_shot
from napari_tessera.gui.qt.histogram_plot import MOST_BARS, HistogramPlot, Line
from napari_tessera.gui.qt.layout import fill, wrapped_label
from napari_tessera.gui.qt.worker import LatestOnlyWorker, shown_by
from napari_tessera.methods.threshold import LOCAL_RULES

if TYPE_CHECKING:
    from napari_tessera.gui.method.widget import MethodWidget

SETTLE_MS = 40
MANUAL, HYSTERESIS, MULTI = "manual", "hysteresis", "multi-otsu"
LOW, HIGH, LEVEL, DARK = "low", "high", "level", "dark"
HELP = (
    "How many pixels have which intensity, on a logarithmic scale; the coloured ones are labelled. Drag a line, or "
    "move it with the left and right arrow keys, to set the level by hand."
)


def has_histogram(method: Method) -> bool:
    """Return whether a method has levels that a histogram can show and set."""
    names = {parameter.name for parameter in method.parameters}
    return method.two_pass is not None and {"method", LOW, HIGH, "polarity"} <= names


class HistogramBox(QWidget):
    """The histogram of the chosen image, kept in step with the form.

    Attributes
    ----------
    plot : HistogramPlot
    caption : QLabel
    found : IntensityHistogram or None
        What the plot shows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plot = HistogramPlot()
        self.plot.setToolTip(tooltip(HELP))
        self.caption = wrapped_label()
        fill(QVBoxLayout(self), self.plot, self.caption, spacing=2)
        self.found: IntensityHistogram | None = None
        self.latest = LatestOnlyWorker()
        self._cache = HistogramCache()
        self._rule = "otsu"
        self._asked: tuple[Any, ...] = ()
        self._image: Layer | None = None
        self._levels_of: Layer | None = None
        self._dtype: np.dtype | None = None
        # Several settings may change one after the other, so "manual" is looked at when all have changed.
        self._settled = single_shot(self, 0, self._open_manual)
        self._timer = single_shot(self, SETTLE_MS, self._ask)
        self.hide()

    def follow(self, widget: MethodWidget) -> None:
        """Show the histogram of a widget's image from now on."""
        self._widget = widget
        self.latest.ready.connect(self._show)
        self.latest.failed.connect(self._on_failed)
        self.plot.moved.connect(self._on_moved)
        for on_change in (widget.form.on_change, widget.inputs.on_change, widget.region.on_change):
            on_change(self.update_soon)
        widget.form.on_change(self._show_lines)
        widget.form.on_change(self._name_open_ends)
        self._name_open_ends()
        widget.form.on_change(self._settled.start)
        widget.viewer.dims.events.point.connect(self.update_soon)
        self.update_soon()

    def update_soon(self, *_: Any) -> None:
        """Update the histogram soon."""
        self._timer.start()

    def close_down(self) -> None:
        """Stop following the widget."""
        self._widget.viewer.dims.events.point.disconnect(self.update_soon)
        self._follow_data(None)
        self._timer.stop()
        self._settled.stop()
        self.latest.stop()

    def _ask(self) -> None:
        with shown_by(self._on_failed):
            request = self._request()
            if request is None:
                self._take_away()
                return
            asked = (request.axes, request.frame, request.parameters, request.spacing, repr(request.region))
            if asked == self._asked and self._cache.image is request.image:
                self._open_manual()
                return
            self._asked = asked
            self.latest.ask(request, intensity_histogram(request, self._cache))

    def _request(self) -> HistogramRequest | None:
        """Return the request for the chosen image, or None without one."""
        inputs, region = self._widget.inputs, self._widget.region
        layer, axes = inputs.main.layer, inputs.axes
        self._follow_data(layer)
        if not isinstance(layer, Image):
            return None
        chosen = region.region(layer, axes)
        planes = {} if chosen is None else dict(chosen.planes)
        frame = {} if not set(axes) - set("ZYXC") else region.planes(layer, axes)
        frame = {axis: index for axis, index in frame.items() if axis not in "Z" and axis not in planes}
        spacing = inputs.placement().spatial.spacing
        return HistogramRequest("threshold", array_of(layer), axes, frame, self._parameters(), spacing, chosen)

    def _parameters(self) -> dict[str, Any]:
        """Return the settings; without a level for the whole image, those of the rule chosen before."""
        values = self._widget.form.values
        if values["method"] in (MANUAL, *LOCAL_RULES):
            return {**values, "method": self._rule, LOW: None, HIGH: None}
        return values

    def _show(self, request: HistogramRequest, found: IntensityHistogram | None) -> None:
        if request.image is not self._cache.image:
            return
        with shown_by(self._on_failed):
            if found is None:
                self._take_away()
                return
            self.found = found
            self._leave_levels_of_another(found, request.image.dtype)
            self._start_fields(found)
            self._open_manual()
            self._show_bars(found)
            self._show_lines()
            self.show()

    def _show_bars(self, found: IntensityHistogram) -> None:
        low, high = found.span()
        values = self._widget.form.values
        if values["method"] in (MANUAL, HYSTERESIS):
            cuts = [cut for cut in (self._cut(LOW), self._cut(HIGH)) if math.isfinite(cut)]
            low, high = min([low, *cuts]), max([high, *cuts])
        edges, counts = found.bars(low, high, MOST_BARS)
        first, last = found.low_at(float(edges[0])), found.high_at(float(edges[-1]))
        texts = [found.in_words(first), found.in_words(last)]
        if edges[0] > found.low:
            texts[0] = f"{found.in_words(found.low)} … {texts[0]}"
        if edges[-1] < found.high:
            texts[1] = f"{texts[1]} … {found.in_words(found.high)}"
        self.plot.show_bars(edges, counts, texts, 1.0 if found.is_whole_numbers else None)

    def _show_lines(self) -> None:
        """Draw the lines for the settings of the form."""
        found, values = self.found, self._widget.form.values
        if found is None:
            return
        method = values["method"]
        title = self._widget.form.fields["method"].parameter.choice_title(self._rule)
        cuts = [found.cut_of(level) for level in found.levels]
        lines, chosen = [], []
        if method == MANUAL:
            lines = [Line(f"rule {number}", cut, title, False) for number, cut in enumerate(cuts)]
            for name, word in ((LOW, "from"), (HIGH, "to")):
                text = "no limit" if values[name] is None else f"{word} {found.in_words(values[name])}"
                lines.append(Line(name, self._cut(name), text))
            chosen = [(self._cut(LOW), self._cut(HIGH))]
        elif cuts and method not in LOCAL_RULES:
            names = (LOW, HIGH) if method == HYSTERESIS else [f"{LEVEL} {number}" for number in range(len(cuts))]
            texts = [found.in_words(level) for level in found.levels]
            texts = [f"{title} {texts[0]}"] if method not in (HYSTERESIS, MULTI) else texts
            lines = [Line(*facts) for facts in zip(names, cuts, texts, strict=False)]  # of the rule before
            ends = [-math.inf, *cuts] if values["polarity"] == DARK else [*cuts, math.inf]
            chosen = list(pairwise(ends))
        self.plot.show_lines(sorted(lines, key=lambda line: line.cut), chosen)
        self.caption.setText(self._caption(found, method))
        self.caption.setVisible(bool(self.caption.text()))

    def _caption(self, found: IntensityHistogram, method: str) -> str:
        parts = ["The level of each pixel comes from its surroundings."] if method in LOCAL_RULES else []
        parts += [found.problem] if found.problem else []
        if found.is_sample:
            share = f"{100 * found.sampled_px / found.image_px:.2g} % of the pixels"
            parts.append(f"Counted in a sample, {share}; the level of a run can differ a little.")
        return " ".join(parts)

    def _cut(self, name: str) -> float:
        """Return the place of a setting's line; that of an open end is infinite."""
        assert self.found is not None
        number = self._widget.form.values[name]
        if number is None:
            return -math.inf if name == LOW else math.inf
        return self.found.cut_below(number) if name == LOW else self.found.cut_above(number)

    def _on_moved(self, name: str, cut: float) -> None:
        """Set the settings to what the user dragged; the level of a rule becomes one set by hand."""
        found, values = self.found, self._widget.form.values
        if found is None:
            return
        held, method, bounds = name, values["method"], {LOW: values[LOW], HIGH: values[HIGH]}
        if name not in bounds:
            held, bounds = self._bounds_beside(found, int(name.split()[-1]), values["polarity"] == DARK)
            method = MANUAL
        is_open = cut == (-math.inf if held == LOW else math.inf)
        is_other_open = bounds[HIGH if held == LOW else LOW] is None
        if is_open and not (method == MANUAL and is_other_open):  # "manual" needs one of them
            bounds[held] = None
        else:
            cut = min(max(cut, self.plot.ends[0]), self.plot.ends[1])
            bounds[held] = found.low_at(cut) if held == LOW else found.high_at(cut)
        self._widget.form.values = {**bounds, "method": method}
        self.plot.held = held
        if self._widget.viewer.dims.ndisplay == 2:
            self._widget.preview_switch.value = True

    def _bounds_beside(
        self, found: IntensityHistogram, number: int, is_dark: bool
    ) -> tuple[str, dict[str, float | None]]:
        """Return which end of the range the level of a rule becomes, and the other end: the next level, if any."""
        cuts = [found.cut_of(level) for level in found.levels]
        if is_dark:
            return HIGH, {LOW: found.low_at(cuts[number - 1]) if number else None, HIGH: None}
        return LOW, {LOW: None, HIGH: found.high_at(cuts[number + 1]) if number + 1 < len(cuts) else None}

    def _leave_levels_of_another(self, found: IntensityHistogram, dtype: np.dtype) -> None:
        """Forget levels set by hand on an image of other numbers; those on an image of the same kind stay."""
        before, self._levels_of = self._levels_of, self._image
        dtype_before, self._dtype = self._dtype, dtype
        if before is None or before is self._image:
            return
        levels = {name: self._widget.form.values[name] for name in (LOW, HIGH)}
        is_apart = any(level is not None and not found.low <= level <= found.high for level in levels.values())
        if is_apart or dtype != dtype_before:
            self._widget.form.values = dict.fromkeys(levels)

    def _name_open_ends(self) -> None:
        """Without a number, "manual" has no limit; the level of another rule is found."""
        fields = self._widget.form.fields
        for field in (fields[LOW], fields[HIGH]):
            if isinstance(field, Number):
                field.name_none("no limit" if fields["method"].value == MANUAL else field.parameter.none)

    def _open_manual(self) -> None:
        """Give "manual" the rule's level to begin with, since it needs one."""
        found, values = self.found, self._widget.form.values
        if values["method"] not in (MANUAL, HYSTERESIS, *LOCAL_RULES):
            self._rule = values["method"]
        if values["method"] != MANUAL or found is None or values[LOW] is not None or values[HIGH] is not None:
            return
        if not found.levels:
            self._rule = "otsu"
            self.update_soon()
        elif values["polarity"] == DARK:
            self._widget.form.values = {HIGH: found.high_at(found.cut_of(found.levels[-1]), LEVEL_DIGITS)}
        else:
            self._widget.form.values = {LOW: found.low_at(found.cut_of(found.levels[0]), LEVEL_DIGITS)}

    def _start_fields(self, found: IntensityHistogram) -> None:
        """Let the fields begin at sensible numbers when "auto" is switched off."""
        low, high = (self._widget.form.fields[name] for name in (LOW, HIGH))
        if found.levels and isinstance(low, Number) and isinstance(high, Number):
            is_manual = self._widget.form.values["method"] == MANUAL
            low.start_from(found.low_at(found.cut_of(found.levels[0])))
            high.start_from(found.high_at(found.cut_of(found.high if is_manual else found.levels[-1])))

    def _follow_data(self, layer: Layer | None) -> None:
        """Count again when the values of the layer change."""
        if layer is self._image:
            return
        for each, is_new in ((self._image, False), (layer, True)):
            if each is not None:
                (each.events.data.connect if is_new else each.events.data.disconnect)(self._on_data)
        self._image = layer

    def _on_data(self, *_: Any) -> None:
        self._cache.image = None
        self.update_soon()

    def _take_away(self) -> None:
        self.found, self._asked = None, ()
        self.latest.stop()
        self.hide()

    def _on_failed(self, error: Exception) -> None:
        """Hide the histogram; a run tells what is wrong with the image."""
        self._take_away()
        if not isinstance(error, TesseraError):
            self._widget.bar.show_error(error)
