"""The field for numbers: a spin box with a unit, and "auto" for automatic values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from magicgui.application import use_app
from magicgui.widgets import CheckBox
from magicgui.widgets.bases import RangedWidget
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QHBoxLayout, QWidget

from napari_tessera.core.method import Parameter
from napari_tessera.core.spec import AUTO
from napari_tessera.engine.bind import pixel_volume, power_of
from napari_tessera.gui.form.field import Field, fit_in_form
from napari_tessera.gui.form.text import unit_suffix
from napari_tessera.gui.qt.layout import fill

LARGEST = 1e12
"""Limit of spin boxes whose declaration has no limit."""
USUAL_DECIMALS, MOST_DECIMALS = 2, 12
BLANK = " "
"""Text of a box with an automatic value: any number there would look like that value."""
FIRST_COUNT = 100
"""Start value of a number of objects without a limit."""


class Number(Field):
    """A spin box, with "auto" beside it if None is allowed; the value is kept in pixels, and shown in any unit."""

    def __init__(self, parameter: Parameter) -> None:
        # magicgui's integer box has no place for a unit, so integers use a float box without decimals.
        self.spin_box = NumberBox(name=parameter.name)
        self.automatic: CheckBox | None = None
        super().__init__(parameter, self.spin_box)
        self._callbacks: list[Callable[[], Any]] = []
        self._number = parameter.default
        self._pixel = 1.0
        step = parameter.range.step
        usual = USUAL_DECIMALS if step is None else _exact_decimals(f"{step:g}")
        self._decimals = 0 if parameter.kind is int else usual
        self._start: float = _first_guess(parameter)
        fit_in_form(self.native)
        if parameter.is_optional:
            self._add_automatic()
        self.show_sizes(None, "px", 2)
        self.spin_box.changed.connect(self._on_typed)

    @property
    def value(self) -> Any:
        """The value in pixels, or None."""
        return self._number

    @value.setter
    def value(self, value: Any) -> None:
        is_new = value != self._number
        self._number = value
        self._show()
        if is_new:
            self._tell()

    def on_change(self, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever the value changes."""
        self._callbacks.append(callback)

    def show_help(self, titles: Mapping[str, str]) -> None:
        """Show the help as the tooltip, in which names have these titles."""
        super().show_help(titles)
        if self.automatic is not None:
            self.automatic.tooltip = self.widget.tooltip

    def name_none(self, word: str) -> None:
        """Say in the box beside the number what it means now that there is none."""
        if self.automatic is not None:
            self.automatic.native.setText(word)

    def show_sizes(self, spacing: tuple[float, ...] | None, unit: str, ndim: int) -> None:
        """Show the value in `unit`, given the pixel size; None shows pixels."""
        power = power_of(self.parameter, ndim)
        self._pixel = 1.0 if spacing is None or not power else pixel_volume(spacing, power)
        shown_unit = "px" if spacing is None else unit
        self.spin_box.native.setSuffix(unit_suffix(self.parameter, shown_unit, ndim))
        self._show()

    def in_words(self, pixels: float) -> str:
        """Write a value in the unit that the field shows, to a tenth of a pixel."""
        native = self.spin_box.native
        return f"{plain(f'{pixels * self._pixel:.{self._usual_decimals()}f}')}{native.suffix()}"

    def start_from(self, number: float) -> None:
        """Start from `number` when "auto" is switched off."""
        if self._number is None:
            self._start = self._rounded(number)
            self._show()

    def show_intensities(self, low: float, high: float) -> None:
        """Fit the decimals to the image's range, and set the start value to its middle."""
        if self.parameter.range.unit != "intensity" or not high > low:
            return
        self._decimals = min(max(3 - math.floor(math.log10(high - low)), 0), 9)
        self._start = self._rounded((low + high) / 2)
        self._show()

    def _add_automatic(self) -> None:
        self.automatic = CheckBox(text=self.parameter.none, value=self._number is None)
        self.show_help({})
        self.native = QWidget()
        row = QHBoxLayout(self.native)
        fill(row, self.spin_box.native, self.automatic.native)
        row.setStretch(0, 1)
        self.automatic.changed.connect(self._on_automatic)

    def _on_automatic(self, is_automatic: bool) -> None:
        self.value = None if is_automatic else self._start

    def _on_typed(self, shown: float) -> None:
        pixels = shown / self._pixel
        self._number = round(pixels) if self.parameter.kind is int else pixels
        self._start = self._number
        self._tell()

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()

    def _show(self) -> None:
        is_automatic = self._number is None
        number = self._start if is_automatic else self._number
        low, high = self.parameter.range.low, self.parameter.range.high
        with self.spin_box.changed.blocked():
            self.spin_box.native.setDecimals(self._decimals_for(number * self._pixel))
            self.spin_box.min = max(low * self._pixel, -LARGEST)
            self.spin_box.max = min(high * self._pixel, LARGEST)
            self._set_step()
            self.spin_box.native.setSpecialValueText(BLANK if is_automatic else "")
            self.spin_box.value = self.spin_box.min if is_automatic else number * self._pixel
        if self.automatic is not None:
            with self.automatic.changed.blocked():
                self.automatic.value = is_automatic
            self.spin_box.enabled = not is_automatic

    def _set_step(self) -> None:
        step, types = self.parameter.range.step, QAbstractSpinBox.StepType
        is_adaptive = (step is None and self.parameter.kind is float) or self._pixel != 1.0
        self.spin_box.native.setStepType(types.AdaptiveDecimalStepType if is_adaptive else types.DefaultStepType)
        if not is_adaptive:
            self.spin_box.step = step or 1

    def _decimals_for(self, shown: float) -> int:
        """Return enough decimals to show the exact value, and a tenth of a pixel."""
        return min(max(self._usual_decimals(), _exact_decimals(f"{shown:.10g}")), MOST_DECIMALS)

    def _usual_decimals(self) -> int:
        """Return enough decimals to show a tenth of a pixel."""
        return self._decimals if self._pixel == 1.0 else max(self._decimals, 1 - math.floor(math.log10(self._pixel)))

    def _rounded(self, number: float) -> int | float:
        return round(number) if self.parameter.kind is int else round(number, self._decimals)


class PlainSpinBox(QDoubleSpinBox):
    """Writes "1.8" for 1.8, also where it takes more decimals."""

    def textFromValue(self, value: float) -> str:
        """Return the number without needless zeros."""
        return plain(super().textFromValue(value), self.locale().decimalPoint())


class NumberBox(RangedWidget[float]):
    """magicgui's box for a number, with a `PlainSpinBox` as its native widget."""

    def __init__(self, **kwargs: Any) -> None:
        usual = use_app().get_obj("FloatSpinBox")

        class Backend(usual):  # type: ignore[misc, valid-type]
            def __init__(self, **kwargs: Any) -> None:
                super(usual, self).__init__(PlainSpinBox, **kwargs)

        super().__init__(widget_type=Backend, **kwargs)


def plain(number: str, point: str = ".") -> str:
    """Leave out the zeros at the end of a number's decimals.

    Examples
    --------
    >>> plain("1.800"), plain("0.00"), plain("100")
    ('1.8', '0', '100')
    """
    return number.rstrip("0").removesuffix(point) if point in number else number


def _exact_decimals(number: str) -> int:
    """Return how many decimals a number has; an infinite one has none."""
    exponent = Decimal(number).normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


def _first_guess(parameter: Parameter) -> float:
    """Return the start value for when "auto" is switched off and the image is unknown."""
    if parameter.default is not None:
        return parameter.default
    low, high = parameter.range.low, parameter.range.high
    if parameter.none != AUTO.word:
        return low
    if math.isfinite(low) and math.isfinite(high):
        # Sizes differ by factors, so their middle is the geometric mean.
        return parameter.kind(math.sqrt(low * high) if low > 0 else (low + high) / 2)
    if parameter.kind is int and not parameter.range.unit:
        return FIRST_COUNT
    return parameter.kind(low if math.isfinite(low) else 0)
