"""Result types: what a method returns (`MethodOutput`), what a run returns (`Result`), and units of table columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera.core.spatial import PIXEL, SHORT_UNITS, Spatial
from napari_tessera.core.spec import Table

if TYPE_CHECKING:
    from pandas import DataFrame


PX = SHORT_UNITS[PIXEL]
LENGTHS = ("equivalent_diameter_area", "axis_major_length", "axis_minor_length")


def column_units(columns: Iterable[str], spatial: Spatial) -> dict[str, str]:
    """Return the unit of each column that has one.

    Examples
    --------
    >>> micrometres = Spatial.with_spacing("YX", (0.5, 0.5), "micrometer")
    >>> column_units(["label", "area", "centroid-0", "centroid-1", "bbox-0", "intensity_mean"], micrometres)
    {'area': 'µm²', 'centroid-0': 'µm', 'centroid-1': 'µm', 'bbox-0': 'px'}
    """
    columns = list(columns)
    length = _length_unit(spatial)
    centroids = [f"centroid-{axis}" for axis in range(3) if f"centroid-{axis}" in columns]
    units = dict.fromkeys((*LENGTHS, *centroids), length)
    units |= {"area": length + ("³" if len(centroids) == 3 else "²")}
    units |= dict.fromkeys(position_columns("ZYX"), PX)
    return {name: units[name] for name in columns if name in units}


def column_title(column: str, unit: str = "") -> str:
    """Return a column's name with its unit, for people.

    Examples
    --------
    >>> column_title("area", "µm²"), column_title("area", "µm³"), column_title("label")
    ('area (µm²)', 'volume (µm³)', 'label')
    """
    name = "volume" if column == "area" and unit.endswith("³") else column
    return f"{name} ({unit})" if unit else name


def position_columns(space: str) -> dict[str, str]:
    """Return the columns that hold positions in pixels, with the axis of each: of measured boxes, and of a network's.

    Examples
    --------
    >>> list(position_columns("YX").items())[:5]
    [('bbox-0', 'Y'), ('bbox-1', 'X'), ('bbox-2', 'Y'), ('bbox-3', 'X'), ('box_y0', 'Y')]
    """
    measured = {f"bbox-{place}": axis for place, axis in enumerate(2 * space)}
    return measured | {f"box_{axis.lower()}{end}": axis for axis in space for end in (0, 1)}


def _length_unit(spatial: Spatial) -> str:
    if spatial.unit != PIXEL:
        return SHORT_UNITS.get(spatial.unit, spatial.unit)
    return PX if set(spatial.spacing) <= {1.0} else "unit"


Kind = Literal["objects", "segments", "classes", "probabilities"]
"""What a pixel value means. Objects and segments have a number each, which continues in the next frame; objects are
numbered in raster order, segments in the method's order. Classes keep their number."""

AutoValues = Mapping[str, Any]
"""Automatic values of a run, by name."""


@dataclass(frozen=True)
class ExtraImage:
    """A further output image of a method."""

    name: str  # what it shows, in a word that can name a file and a layer
    kind: Kind
    data: np.ndarray  # the shape of the labels
    table: Table = field(default_factory=dict)  # one row per number


@dataclass(frozen=True)
class MethodOutput:
    """Labels of a method, with its table, notes, further images and automatic values."""

    labels: np.ndarray  # the image's spatial shape; 0 is background
    table: Table = field(default_factory=dict)  # one row per object, in the order of the labels
    notes: tuple[str, ...] = ()  # plain sentences that the user should read
    others: tuple[ExtraImage, ...] = ()  # the same ones in the same order for every input image
    chosen: AutoValues = field(default_factory=dict)
    """Automatic values as plain JSON, such as the levels of a rule or the estimated diameter; lists with an entry per
    frame for several frames."""

    @classmethod
    def of(cls, found: Any) -> MethodOutput:
        """Convert what a method may return (labels, labels and a table, or a `MethodOutput`) to a `MethodOutput`."""
        if isinstance(found, MethodOutput):
            return found
        return cls(*found) if isinstance(found, tuple) else cls(found)


@dataclass(frozen=True)
class LabelImage:
    """One label image, or the probabilities of one class.

    Attributes
    ----------
    name : str
        Name of the method; for further images, what they show; for probabilities, the name of the class.
    data : array
        Integers, 0 is background. Probabilities are float32, 0 to 1.
    spatial : Spatial
        Placement in the world.
    kind : "objects", "segments", "classes" or "probabilities"
    table : dict of str to array
        One row per object (or class), in the order of the labels; may be empty.
    """

    name: str
    data: np.ndarray
    spatial: Spatial
    kind: Kind
    table: Table

    @property
    def units(self) -> dict[str, str]:
        """The unit of each column of the table that has one, such as "µm²" of "area"."""
        return column_units(self.table, self.spatial)

    def __repr__(self) -> str:
        """Describe it in one line; `count` is the number of objects (or classes) in its table."""
        count = f", count={len(self.table['label'])}" if "label" in self.table else ""
        shape = tuple(self.data.shape)
        return f"LabelImage(name={self.name!r}, kind={self.kind!r}{count}, shape={shape}, dtype={self.data.dtype})"


@dataclass(frozen=True)
class Result:
    """What a run returns.

    Attributes
    ----------
    images : tuple of LabelImage
        The labels, and further images of the method; for probabilities one image per class except the background, in
        the order of the classes.
    provenance : dict
        Plain JSON: method, parameters, axes, spacing, inputs, versions, seconds, and under ``chosen`` the automatic
        values. `tessera.run(provenance, image)` gives the same labels again.
    notes : tuple of str
        Plain sentences that the user should read (nothing was found, something was cut).
    """

    images: tuple[LabelImage, ...]
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Describe the result in a few words, without tables and record."""
        return f"Result(images={self.images!r}, notes={self.notes!r})"

    @property
    def labels(self) -> np.ndarray:
        """The first label array, or the probabilities of the first class."""
        return self.images[0].data

    @property
    def table(self) -> Table:
        """The table of the first label array."""
        return self.images[0].table

    @property
    def units(self) -> dict[str, str]:
        """The unit of each column of `table` that has one, such as "µm²" of "area"."""
        return self.images[0].units

    def to_dataframe(self) -> DataFrame:
        """Return the table of the first label array for pandas: a row for each object, a column for each measurement.

        Examples
        --------
        >>> import numpy as np, napari_tessera as tessera
        >>> image = np.zeros((8, 8)); image[2:5, 2:5] = image[7, 7] = 1
        >>> frame = tessera.segment("threshold", image, output="objects").to_dataframe()
        >>> frame["num_pixels"].tolist()
        [9, 1]
        """
        from pandas import DataFrame

        return DataFrame(self.table)
