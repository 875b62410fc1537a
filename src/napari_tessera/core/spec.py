"""All that an annotation in a method's signature may use: roles of arrays, ranges, units, titles, conditions.

A parameter's range, unit, default and help are written only in the signature and docstring.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Range:
    """Allowed values of a number, both ends included, and their unit.

    Units "px", "px²" (an area, in 3-D a volume) can be converted to the image's unit; "intensity" depends on the
    image's values.
    """

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    step: float | None = None


@dataclass(frozen=True, init=False)
class ShownIf:
    """The parameter has an effect only if another one has one of the given values."""

    parameter: str
    values: tuple[Any, ...]

    def __init__(self, parameter: str, *values: Any) -> None:
        object.__setattr__(self, "parameter", parameter)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class NoneMeans:
    """What None stands for, in a word for the window and the command line; without it, "auto": found automatically."""

    word: str


AUTO = NoneMeans("auto")


@dataclass(frozen=True)
class CommaSeparated:
    """The text is a list with commas between; in Python, a list or a tuple is taken, too."""


@dataclass(frozen=True)
class ModelName:
    """The text names a model, or is a path to a model file, of a kind of network such as "unet"."""

    kind: str


@dataclass(frozen=True)
class FromModel:
    """None takes the value of this field of the model's header."""

    field: str


@dataclass(frozen=True)
class Title:
    """The parameter's title in a form, where its name says too little."""

    text: str


@dataclass(frozen=True)
class Choices:
    """The values of a text, with their titles in a form; of a `Literal`, the titles that its values do not give."""

    titles: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class NeedsAxis:
    """The parameter has no effect on an image without this axis."""

    axis: str


@dataclass(frozen=True)
class Advanced:
    """The parameter is rarely changed: a form does not show it among the first."""


def title_of(name: str) -> str:
    """Turn `min_distance` into "Min distance"."""
    title = name.replace("_", " ").replace("-", " ")
    # A single letter is a symbol of the literature, such as k.
    return title if len(title) == 1 else title[:1].upper() + title[1:]


class Role(Enum):
    """What an argument is, if its Python type alone does not tell."""

    IMAGE = "image"
    LABELS = "labels"
    POINTS = "points"
    SPACING = "spacing"
    CHANNEL_AXIS = "channel_axis"
    VALID = "valid"


Image = Annotated[np.ndarray, Role.IMAGE]
"""Intensities, (Y, X) or (Z, Y, X), with the channel axis at `channel_axis`."""
Labels = Annotated[np.ndarray, Role.LABELS]
"""Integers, (Y, X) or (Z, Y, X); 0 is background."""
Points = Annotated[np.ndarray, Role.POINTS]
"""Pixel coordinates, (N, 2) as y, x or (N, 3) as z, y, x."""
Spacing = Annotated[tuple[float, ...] | None, Role.SPACING]
"""Size of a pixel along each spatial axis, all in one unit; None means 1. Shapes depend only on the ratios."""
ChannelAxis = Annotated[int | None, Role.CHANNEL_AXIS]
"""Axis of `image` that holds channels, or None for a grey image. RGB is three channels."""
Valid = Annotated[np.ndarray | None, Role.VALID]
"""Where the image is, of its spatial shape; None means everywhere. Elsewhere are NaN, infinity, masked pixels, padding;
there the image is filled with values near by, and labels become 0. Statistics of the image leave these pixels out."""
Channel = Annotated[int | None, Range(0, 100), NoneMeans("all"), NeedsAxis("C")]
"""Channel to work on, counted from 0; None takes all together."""
Connectivity = Annotated[int, Range(1, 3), Advanced()]
"""1 joins pixels that share a side (in 3-D, a face), 2 an edge too, 3 a corner too."""
Seed = Annotated[int, Range(0, 2**31 - 1), Advanced()]
"""Seed of random numbers."""
TileSize = Annotated[int | None, Range(32, 8192), Advanced()]
"""Side of the pieces an image is computed in, in pixels of the network; None means as large as suits."""
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], Advanced()]
"""Where a network runs."""
SIGMA_TITLE = Title("Smoothing (sigma)")
Table = dict[str, np.ndarray]
"""Columns by name, one row per object in the order of its label; a column "label" is always there."""


class LabelsAndTable(NamedTuple):
    """What a method returns that finds a table beside its labels."""

    labels: np.ndarray
    table: Table


class LabelsClassesAndTable(NamedTuple):
    """What a panoptic method returns: the number of the segment and the class of each pixel, and a table."""

    labels: np.ndarray
    classes: np.ndarray
    table: Table


ARRAYS: Mapping[tuple[str, ...], type] = {kind._fields: kind for kind in (LabelsAndTable, LabelsClassesAndTable)}
"""What is returned by a function of a method's own name that finds more than labels, by the names of its parts."""
