"""One setting of a method: what values it takes, and the check of a value."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_tessera.errors import ParameterError, short

LARGEST_WHOLE = 2**53
"""Up to here floating-point numbers hold whole numbers exactly."""
LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Range:
    """Allowed values of a number, ends included, and their unit.

    Units "px", "px²" (an area, in 3-D a volume) can be converted to the image's own unit; "intensity" follows the
    image's values.
    """

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    step: float | None = None


@dataclass(frozen=True, init=False)
class ShownIf:
    """The parameter matters only while another one has one of the given values."""

    parameter: str
    values: tuple[Any, ...]

    def __init__(self, parameter: str, *values: Any) -> None:
        object.__setattr__(self, "parameter", parameter)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class ModelName:
    """The text names a model, or is a path to a model file.

    Attributes
    ----------
    kind : str
        Kind of network, as the header of a model file says: "unet".
    """

    kind: str


@dataclass(frozen=True)
class Parameter:
    """One setting of a method.

    Attributes
    ----------
    name : str
    kind : type
        bool, int, float or str.
    default : bool, int, float, str or None
    is_optional : bool
        None is allowed and means "found automatically" (the help says how).
    choices : tuple
        Allowed values, or () where `range` says.
    range : Range
    shown_if : tuple of ShownIf
        All must hold for the parameter to matter.
    help : str
        The docstring's text.
    model : ModelName or None
        What kind of model the text names; the catalogue knows which there are.
    """

    name: str
    kind: type
    default: Any
    is_optional: bool
    choices: tuple[Any, ...]
    range: Range
    shown_if: tuple[ShownIf, ...]
    help: str
    model: ModelName | None = None

    def matters(self, values: Mapping[str, Any]) -> bool:
        """Say whether the parameter has an effect, given the values of the others."""
        return all(values.get(rule.parameter) in rule.values for rule in self.shown_if)

    def checked(self, value: Any, method: str) -> Any:
        """Return `value` as the declared type, or raise a `ParameterError` that names the parameter."""
        if value is None and self.is_optional:
            return None
        if self.choices:
            return self._checked_choice(value, method)
        if self.kind is bool:
            return self._checked_bool(value, method)
        if self.kind in (int, float):
            return self._checked_number(value, method)
        if not isinstance(value, str):
            raise self._error(method, value, self.describe_range())
        return value

    def _checked_choice(self, value: Any, method: str) -> Any:
        for choice in self.choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise self._error(method, value, "one of " + ", ".join(map(repr, self.choices)))

    def _checked_bool(self, value: Any, method: str) -> bool:
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        raise self._error(method, value, "True or False")

    def _checked_number(self, value: Any, method: str) -> int | float:
        is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not is_number or (self.kind is int and value != value // 1):
            raise self._error(method, value, "a whole number" if self.kind is int else "a number")
        largest = min(self.range.high, LARGEST_WHOLE if self.kind is int else LARGEST)
        if not max(self.range.low, -largest) <= value <= largest:
            most = f", at most {largest:.4g}" if math.isinf(self.range.high) else ""
            raise self._error(method, value, self.describe_range() + most)
        return self.kind(value)

    def describe_range(self) -> str:
        """Say in words what values are allowed."""
        low, high = self.range.low, self.range.high
        unit = f" {self.range.unit}" if self.range.unit not in ("", "intensity") else ""
        if self.choices:
            return "one of " + ", ".join(map(repr, self.choices))
        if self.kind is bool:
            return "True or False"
        if self.kind is str:
            return "a text" if self.model is None else "the name of a model, or the path of a model file"
        if math.isinf(low) and math.isinf(high):
            return f"any number{unit}"
        if math.isinf(high):
            return f"{low:.10g} or more{unit}"
        return f"{low:.10g} to {high:.10g}{unit}"

    def _error(self, method: str, value: Any, needed: str) -> ParameterError:
        none = " (or None)" if self.is_optional else ""
        return ParameterError(f"{method}: `{self.name}` is {short(value)}, but it must be {needed}{none}.", self.name)
