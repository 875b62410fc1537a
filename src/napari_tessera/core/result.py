"""What a method returns (`MethodOutput`) and a run (`Result`), units of table columns, and the record of a run."""

from __future__ import annotations

import base64
import hashlib
import math
import platform
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_tessera.core.errors import FileError
from napari_tessera.core.jobs import Job, Progress
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

    @property
    def things(self) -> np.ndarray:
        """The labels of what is counted: of segments those of things, with 0 where stuff is."""
        from napari_tessera.core.labels import things_among

        return things_among(self.data, self.table)

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


MOST_LISTED = 3
"""Up to this many values are listed; of more, the smallest and the largest."""


KINDS_IN_WORDS = {
    "objects": ("object", "objects"), "segments": ("segment", "segments"), "classes": ("class", "classes"),
}  # fmt: skip
"""One and several, by the kind of a label image."""


def count_in_words(count: int, kind: str = "objects") -> str:
    """Return a number of objects, segments or classes, such as "1 object"."""
    return f"{count} {KINDS_IN_WORDS[kind][count != 1]}"


def describe_auto_values(result: Result) -> str:
    """Return the automatic values of a run as a sentence; empty without any.

    Examples
    --------
    >>> describe_auto_values(Result((), {"chosen": {"levels": [112.0]}}))
    'Level: 112.'
    >>> describe_auto_values(Result((), {"chosen": {"diameter_px": [27.31, 30.0, 29.0, 28.0]}}))
    'Diameter: 27.3 to 30 px.'
    >>> record = {"chosen": {"diameter_px": 27.31}, "spacing": [0.5, 0.5], "unit": "micrometer"}
    >>> describe_auto_values(Result((), record))
    'Diameter: 27.3 px (13.7 µm).'
    """
    chosen = result.provenance.get("chosen", {})
    sentences = []
    if "levels" in chosen:
        sentences.append(_levels(chosen["levels"]))
    if "diameter_px" in chosen:
        sentences.append(_diameter(chosen["diameter_px"], result.provenance))
    return " ".join(each for each in sentences if each)


def _levels(levels: Any) -> str:
    frames = levels if levels and isinstance(levels[0], list) else [levels]
    counts = {len(each) for each in frames}
    if not counts - {0}:
        return ""
    name = "Level" if max(counts) == 1 else "Levels"
    if len(frames) == 1:
        return f"{name}: {', '.join(map(_number, frames[0]))}."
    return f"{name}: {_several([level for each in frames for level in each])}."


def _diameter(diameters: Any, record: Any) -> str:
    values = diameters if isinstance(diameters, list) else [diameters]
    values = [value for value in values if value is not None]
    if not values:
        return ""
    plain = f"Diameter: {_several(values)} px"
    spacing, unit = record.get("spacing"), record.get("unit", PIXEL)
    if not spacing or unit == PIXEL:
        return f"{plain}."
    return f"{plain} ({_several([value * spacing[-1] for value in values])} {SHORT_UNITS.get(unit, unit)})."


def _several(values: list[float]) -> str:
    different = sorted(set(values))
    if len(different) <= MOST_LISTED:
        return ", ".join(map(_number, different))
    return f"{_number(different[0])} to {_number(different[-1])}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


FORMAT = 1
LARGEST_EMBEDDED_BYTES = 1_000_000
DEEPEST = 300
"""Nesting of a record's JSON: an input made by a run on an input made by a run takes three levels."""
PART_BYTES = 2**22
ZLIB_LEVEL = 3
CORE_PACKAGES = ("napari-tessera", "numpy", "scipy", "scikit-image", "numba", "fastremap", "torch")
_version = cache(version)
"""Reading the files of a package takes milliseconds; a missing one is searched again."""


def versions() -> dict[str, str]:
    """Return the versions of Python, the system and the packages that affect a result."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in CORE_PACKAGES:
        try:
            found[package] = _version(package)
        except PackageNotFoundError:
            continue
    return found


def utc_now() -> str:
    """Return the time as an ISO 8601 text in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def with_seconds(result: Result, begin: float) -> Result:
    """Record the seconds since `begin`, a time of `time.perf_counter`: what the user waited."""
    result.provenance["seconds"] = round(time.perf_counter() - begin, 3)
    return result


def describe_array(array: np.ndarray) -> Job[dict[str, Any]]:
    """Return shape, dtype and SHA-256 of an array's pixels in C order; no hash if it is not in memory."""
    digest = None
    if isinstance(array, np.ndarray):
        hashing = hashlib.sha256()
        for part in _little_endian_parts(array):
            hashing.update(part)
            yield Progress(0, 1, "Recording")
        digest = hashing.hexdigest()
    return {"shape": list(map(int, array.shape)), "dtype": np.dtype(array.dtype).str.lstrip("<>|="), "sha256": digest}


def embed(array: np.ndarray) -> Job[dict[str, Any]]:
    """Describe an array and, if it compresses well (annotation, seeds), keep its values in the record."""
    record = yield from describe_array(array)
    packing, packed = zlib.compressobj(ZLIB_LEVEL), bytearray()
    for part in _little_endian_parts(array):
        packed += packing.compress(part)
        if len(packed) > LARGEST_EMBEDDED_BYTES:
            return record
        yield Progress(0, 1, "Recording")
    packed += packing.flush()
    if len(packed) <= LARGEST_EMBEDDED_BYTES:
        record["zlib"] = base64.b64encode(packed).decode("ascii")
    return record


def _little_endian_parts(array: np.ndarray) -> Iterator[memoryview]:
    """Cut an array's bytes, in C order and little-endian, into parts of a few megabytes."""
    flat = np.ascontiguousarray(array).reshape(-1)
    step = max(1, PART_BYTES // array.itemsize)
    for start in range(0, flat.size, step):
        yield np.ascontiguousarray(flat[start : start + step], array.dtype.newbyteorder("<")).view(np.uint8).data


def embedded(record: Mapping[str, Any]) -> np.ndarray | None:
    """Return the array kept by `embed` in the record of an input, or None; refuse one that differs from its SHA-256."""
    if record.get("zlib") is None:
        return None
    try:
        dtype = np.dtype(record["dtype"]).newbyteorder("<")
        size = math.prod(record["shape"]) * dtype.itemsize
        unpacked = zlib.decompressobj().decompress(base64.b64decode(record["zlib"], validate=True), size + 1)
        if record.get("sha256") not in (None, hashlib.sha256(unpacked).hexdigest()):
            raise ValueError("its SHA-256 differs")
        return np.frombuffer(unpacked, dtype).reshape(record["shape"]).astype(dtype.newbyteorder("="))
    except (ValueError, MemoryError, zlib.error) as error:
        raise FileError(f"The record's embedded array is damaged ({error}). Give the array itself.") from error


def make_record(
    method: str,
    parameters: Mapping[str, Any],
    axes: str,
    spacing: tuple[float, ...] | None,
    inputs: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Make the record of one run."""
    return {
        "tessera": FORMAT,
        "method": method,
        "parameters": dict(parameters),
        "axes": axes,
        "spacing": None if spacing is None else list(spacing),
        "inputs": dict(inputs),
        **more,
        "versions": versions(),
    }


def without_nan(value: Any) -> Any:
    """Copy plain JSON with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
