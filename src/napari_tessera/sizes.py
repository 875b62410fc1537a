"""Sizes given in the image's own unit, turned into pixels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from typing import Any

from napari_tessera.errors import InputError, short
from napari_tessera.registry import Method
from napari_tessera.spec import Parameter

POWERS = {"px": 1}
AREA = "px²"


def power_of(parameter: Parameter, ndim: int) -> int:
    """Say with which power of the pixel size a parameter grows: 1 for lengths, `ndim` for areas and volumes, else 0."""
    if parameter.range.unit == AREA:
        return ndim
    return POWERS.get(parameter.range.unit, 0)


def pixel_volume(spacing: tuple[float, ...], power: int) -> float:
    """One pixel in the image's unit: its length along X, or its area or volume."""
    if power == 1:
        return spacing[-1]
    volume = 1.0
    for size in spacing[-power:] if power else ():
        volume *= size
    return volume


def in_pixels(
    settings: Mapping[str, Any],
    method: Method,
    spacing: tuple[float, ...] | None,
    ndim: int,
    sizes_in: str,
) -> dict[str, Any]:
    """Turn lengths and areas given in the image's unit into pixels; whole-number parameters are rounded.

    Raises
    ------
    InputError
        If the pixel size is not known, or `sizes_in` is neither "px" nor "unit".
    """
    if not isinstance(sizes_in, str) or sizes_in not in ("px", "unit"):
        raise InputError(f'`sizes_in` is {short(sizes_in)}, but it must be "px" or "unit".')
    if sizes_in == "px":
        return dict(settings)
    if spacing is None:
        raise InputError("Sizes are given in the image's unit, but its pixel size is not known. Give `spacing`.")
    converted = dict(settings)
    for parameter in method.parameters:
        power = power_of(parameter, ndim)
        value = settings.get(parameter.name)
        if power and isinstance(value, (int, float)) and not isinstance(value, bool):
            with suppress(OverflowError):  # a number that is refused as it is
                pixels = value / pixel_volume(spacing, power)
                converted[parameter.name] = round(pixels) if parameter.kind is int and isfinite(pixels) else pixels
    return converted
