"""What may be said of an image that its file does not say, or says wrongly."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_tessera.errors import InputError, ParameterError, short
from napari_tessera.escaping import visible
from napari_tessera.layout import check_axes
from napari_tessera.spatial import LONGEST_UNIT, PIXEL, SPATIAL_AXES, Spatial


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add the axes, the pixel size and its unit, and the resolution level."""
    group = parser.add_argument_group("the image")
    group.add_argument(
        "--axes", type=axis_letters, help="one letter per axis, such as YX, ZYX, TYX or YXC [default: as the file says]"
    )
    group.add_argument(
        "--spacing", type=pixel_size, nargs="+", action=AtMostThree, metavar="SIZE",
        help="pixel size along z, y, x, or one for all [default: as the file says]",
    )  # fmt: skip
    group.add_argument("--unit", type=unit_text, help="unit of the pixel size, such as µm [default: as the file says]")
    group.add_argument(
        "--resolution-level",
        type=count(0),
        default=0,
        metavar="LEVEL",
        help="level to read; 0 is full size [default: 0]",
    )


class AtMostThree(argparse.Action):
    """Refuses more pixel sizes than there are axes in space."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Keep the sizes."""
        if values is not None and len(values) > len(SPATIAL_AXES):
            raise argparse.ArgumentError(self, f"{len(values)} sizes are given, but there are at most z, y and x")
        setattr(namespace, self.dest, values)


def axis_letters(text: str) -> str:
    """Return axes that some image could have: letters, each once, Y and X among them."""
    try:
        return check_axes(text, (1,) * len(text), np.dtype(np.uint8)).axes
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def pixel_size(text: str) -> float:
    """Return a positive number."""
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and size > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no pixel size; it must be a positive number")
    return size


def unit_text(text: str) -> str:
    """Return a text that can be shown."""
    if visible(text) != text or len(text) > LONGEST_UNIT:
        raise argparse.ArgumentTypeError(f"{short(text)} is no unit; it must be a short text, such as µm")
    return text


def count(smallest: int) -> Callable[[str], int]:
    """Return what turns the typed text into a whole number of at least `smallest`."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = smallest - 1
        if number < smallest:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, {smallest} or more")
        return number

    return convert


def says_nothing(spatial: Spatial) -> bool:
    """Say whether a file gave no pixel size: 1 along each axis of space, without a unit."""
    return set(spatial.spacing) == {1.0} and spatial.unit == PIXEL


def check_pixel_size_is_known(spatial: Spatial) -> None:
    """Refuse a file that gave no pixel size, or none along one of the axes of space.

    Raises
    ------
    ParameterError
    """
    units = {unit for axis, unit in zip(spatial.axes, spatial.units, strict=True) if axis in SPATIAL_AXES}
    if says_nothing(spatial) or (PIXEL in units and len(units) > 1):
        raise ParameterError(
            "Sizes are given in the image's unit (--sizes-in unit), but its pixel size is not known. "
            "Give --spacing, and --unit to name the unit.",
            "sizes_in",
        )
