"""Read TIFF, OME-TIFF and ImageJ TIFF, in memory or piece by piece."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import tifffile
import zarr

from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import check_exists, check_fits, check_regular, named_file
from napari_tessera.core.spatial import PIXEL, Spatial
from napari_tessera.io.image_file import Place, Reading, imagej_unit, note_of_others, ome_symbol, sized, unit_name
from napari_tessera.io.ome_xml import (
    check_complete,
    check_counts,
    check_plain,
    companion_text,
    ome_places,
    other_files,
    parse_xml,
)
from napari_tessera.io.tiff_page_checks import as_meant, check_stored, planes_by_offset

OPEN_AT_A_TIME = 4


@dataclass(frozen=True, eq=False)
class StoredTiff:
    """One level of the first image of a TIFF file.

    Attributes
    ----------
    path : Path
        Absolute.
    level : int
    array : zarr.Array
        Its pixels; tifffile's array, which cannot be pickled.
    """

    path: Path
    level: int
    array: Any

    def __getitem__(self, window: Any) -> np.ndarray:
        """Read a window."""
        return np.asarray(self.array[window])

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return np.dtype(self.array.dtype)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Pickle as the path."""
        return open_again, (self.path, self.level, self.shape, str(self.dtype))


def open_again(path: Path, level: int, shape: tuple[int, ...], dtype: str) -> StoredTiff:
    """Open a file again in another process. Raises `FileNotFoundError` if it does not exist, or is another file."""
    stored = StoredTiff(path, level, _opened_level(path, level, path.stat().st_mtime_ns))
    if (stored.shape, str(stored.dtype)) != (shape, dtype):
        raise FileNotFoundError(2, "The file has another image", str(path))
    return stored


@lru_cache(OPEN_AT_A_TIME)
def _opened_level(path: Path, level: int, _written_ns: int) -> Any:
    return zarr.open_array(tifffile.imread(path, aszarr=True, level=level), mode="r")


LAZY_FROM_BYTES = 2**30
LARGEST_CLASSIC_TIFF_BYTES = 2**32 - 2**25
CENTIMETRE = 3
XMP = 700
NDTIFF_INDEX = "NDTiff.index"
SIDE_IMAGES = ("thumbnail", "label", "macro", "map", "overview")
"""Names in tifffile and OME-XML of the extra images of a slide scanner."""
SIGNS_OF_MISSING_PAGES = ("failed to reshape", "invalid or corrupted")


def read_tiff(path: Path, level: int, *, as_labels: bool = False) -> Reading:
    """Read the first image of a TIFF file; one of a gigabyte or more is a dask array.

    The pixel size comes from OME-XML, from ImageJ's description, from Zeiss LSM, or from resolution tags in pixels per
    centimetre. Pixels per inch are a printer's setting and are ignored. Colours are converted by `as_meant`.
    """
    planes = {path.resolve(): planes_by_offset(path)}
    with _noticing_missing_pages(), _opened(path) as (file, root):
        others = _others(path, file, root)
        planes |= {each.resolve(): planes_by_offset(each) for each in others if each.exists() and check_regular(each)}
        series = file.series[0]
        chosen = _level(series, level)
        pages = [] if chosen.dataoffset is not None else list(chosen)
        check_complete(pages, chosen.axes, chosen.shape, others)
        check_stored(chosen, pages, planes)
        if chosen.nbytes < LAZY_FROM_BYTES:
            check_fits(chosen.nbytes)
            data = _checked(chosen.asarray(), chosen.shape)
        else:
            data = _lazily(series, level)
        reading = Reading(data, chosen.axes, _places_of(chosen, series, _places(file, root)))
        has_display_colours = bool(file.is_imagej or file.is_ome or file.is_lsm)
        reading = as_meant(reading, chosen.keyframe, as_labels=as_labels, has_display_colours=has_display_colours)
        count = 1 + sum(_is_image(other) for other in file.series[1:])
        return replace(reading, notes=(*reading.notes, *note_of_others(count)))


def _level(series: tifffile.TiffPageSeries, level: int) -> tifffile.TiffPageSeries:
    if not 0 <= level < len(series.levels):
        raise FileError(f"It has the resolution levels 0 to {len(series.levels) - 1}, but level {level} was requested.")
    return series.levels[level]


def _is_image(series: tifffile.TiffPageSeries) -> bool:
    """Return whether pages are a separate image, and not a smaller copy, a mask, or a slide's label."""
    page = series.keyframe
    is_copy = page.is_reduced or page.is_mask or page.is_subifd
    return not is_copy and series.name.lower().removesuffix(" image") not in SIDE_IMAGES


def _places_of(
    chosen: tifffile.TiffPageSeries, full: tifffile.TiffPageSeries, places: Mapping[str, Place]
) -> dict[str, Place]:
    """Return the placement of a level, whose pixels are larger than at full size."""
    larger = {axis: whole / small for axis, whole, small in zip(full.axes, full.shape, chosen.shape, strict=True)}
    return {axis: Place(place.size * larger.get(axis, 1.0), place.offset, place.unit) for axis, place in places.items()}


def _others(path: Path, file: tifffile.TiffFile, root: Element | None) -> list[Path]:
    """Return the files with more planes of the image, from OME-XML or Micro-Manager's index."""
    if root is not None:
        return other_files(path, root)
    if not file.is_ndtiff:
        return []
    index = check_exists(path.with_name(NDTIFF_INDEX))
    names = {str(entry[1]) for entry in tifffile.read_ndtiff_index(index)} - {path.name}
    return [named_file(path.parent, name) for name in sorted(names)]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tifffile.TiffFile, Element | None]]:
    """Open a file, and its OME-XML, if any, from it or from its companion file."""
    with tifffile.TiffFile(path) as file:
        root = _ome(file)
        companion = None if root is None else companion_text(path, root)
        if companion is None:
            yield file, root
            return
    root = parse_xml(companion)
    check_counts(root)
    with tifffile.TiffFile(path, omexml=companion) as file:
        yield file, root


def _ome(file: tifffile.TiffFile) -> Element | None:
    """Return the OME-XML of a file, after checking all XML that tifffile parses."""
    if not file.pages:
        raise ValueError("it has no planes")
    page = file.pages.first
    for text in (page.description, page.description1, str(page.tags.valueof(XMP, ""))):
        check_plain(text)
    if not file.is_ome:
        return None
    root = parse_xml(page.description)
    check_counts(root)
    return root


class _Complaints(logging.Handler):
    """Collects what tifffile logs in this thread, and keeps it from being printed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self.thread_reading = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread_reading:
            self.texts.append(record.getMessage())


@contextmanager
def _noticing_missing_pages() -> Iterator[None]:
    """Raise an error for missing pages: tifffile only logs them, and would return one plane of a truncated stack."""
    complaints = _Complaints()
    logger = tifffile.logger()
    logger.addHandler(complaints)
    try:
        yield
    finally:
        logger.removeHandler(complaints)
    for text in complaints.texts:
        if any(sign in text for sign in SIGNS_OF_MISSING_PAGES):
            raise ValueError(f"some of its planes are missing: {text}")


def _checked(data: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if data.shape != tuple(shape):
        raise ValueError(f"its pixels have shape {data.shape}, but its header says {tuple(shape)}")
    return data


def _lazily(series: tifffile.TiffPageSeries, level: int) -> Any:
    """Return a dask array, which opens the file again when it is read."""
    import dask.array
    import zarr

    array: Any = zarr.open_array(series.aszarr(level=level), mode="r")
    path = Path(series.keyframe.parent.filehandle.path).absolute()
    return dask.array.from_array(StoredTiff(path, level, array), chunks=array.chunks)


def _places(file: tifffile.TiffFile, root: Element | None) -> dict[str, Place]:
    if root is not None:
        return ome_places(root)
    if file.is_lsm and file.lsm_metadata:
        voxel = file.lsm_metadata
        return {axis: sized(voxel.get(f"VoxelSize{axis}", 0) * 1e6, "micrometer") for axis in "ZYX"}
    if file.imagej_metadata and "unit" in file.imagej_metadata:
        return _imagej_places(file)
    return _resolution_places(file)


def _imagej_places(file: tifffile.TiffFile) -> dict[str, Place]:
    said = file.imagej_metadata or {}
    unit = unit_name(said["unit"])
    size = _pixel_size(file)
    return {
        "Z": sized(said.get("spacing"), unit),
        "Y": sized(size["Y"], unit),
        "X": sized(size["X"], unit),
        "T": sized(said.get("finterval"), unit_name(said.get("tunit", "sec"))),
    }


def _resolution_places(file: tifffile.TiffFile) -> dict[str, Place]:
    unit = file.pages.first.tags.get("ResolutionUnit")
    if unit is None or unit.value != CENTIMETRE:
        return {}
    return {axis: sized(size and size * 1e4, "micrometer") for axis, size in _pixel_size(file).items()}


def _pixel_size(file: tifffile.TiffFile) -> dict[str, float | None]:
    """Return the reciprocal of the resolution tags along Y and X; None without a value."""
    sizes: dict[str, float | None] = {}
    for axis in "YX":
        tag = file.pages.first.tags.get(f"{axis}Resolution")
        pixels, per_units = tag.value if tag is not None else (0, 0)
        sizes[axis] = per_units / pixels if pixels else None
    return sizes


def write_tiff(
    path: Path, labels: np.ndarray, spatial: Spatial, *, as_ome: bool = False, axes: str | None = None
) -> None:
    """Write labels or probabilities with their pixel size, zlib-compressed, as BigTIFF above 4 GB.

    OME-TIFF is written if `as_ome`, or if ImageJ's format cannot hold the labels (more than 65,535 of them, more than 4
    GB, or an unknown axis). `axes` names the channel axis of an integer image.
    """
    labels, axes = labels if labels.dtype == np.float32 else smallest_unsigned(labels), axes or spatial.axes
    fits_imagej = labels.dtype in (np.uint16, np.float32) and labels.nbytes < LARGEST_CLASSIC_TIFF_BYTES
    is_in_order = [axis for axis in "TZCYX" if axis in axes] == list(axes)
    if as_ome or not (fits_imagej and is_in_order):
        _write_ome(path, labels, spatial, axes)
    else:
        _write_imagej(path, labels, spatial, axes)


def smallest_unsigned(labels: np.ndarray) -> np.ndarray:
    """Return labels as uint16, or uint32 if the numbers are larger.

    Raises `FileError` if they need more than 32 bits.
    """
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.uint32).max:
        raise FileError(f"The labels go up to {largest}, but TIFF holds 32 bits. Write .ome.zarr or .npy instead.")
    return labels.astype(np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32)


def _by_axis(spatial: Spatial) -> Mapping[str, tuple[float, str]]:
    return {
        axis: (abs(size), unit) for axis, size, unit in zip(spatial.axes, spatial.scale, spatial.units, strict=True)
    }


def _write_imagej(path: Path, labels: np.ndarray, spatial: Spatial, axes: str) -> None:
    by_axis = _by_axis(spatial)
    metadata: dict[str, Any] = {"axes": axes, "unit": imagej_unit(by_axis["X"][1])}
    if "Z" in by_axis:
        metadata["spacing"] = by_axis["Z"][0]
    if "T" in by_axis and by_axis["T"][1] != PIXEL:
        metadata |= {"finterval": by_axis["T"][0], "tunit": imagej_unit(by_axis["T"][1])}
    resolution = (1 / by_axis["X"][0], 1 / by_axis["Y"][0])
    tifffile.imwrite(
        path, labels, imagej=True, metadata=metadata, resolution=resolution, compression="zlib",
        photometric="minisblack",
    )  # fmt: skip


UNKNOWN_LENGTH = "reference frame"
"""OME's name for an unknown unit of length; the record has the unit."""


def _write_ome(path: Path, labels: np.ndarray, spatial: Spatial, axes: str) -> None:
    metadata: dict[str, Any] = {"axes": axes}
    for axis, (size, unit) in _by_axis(spatial).items():
        key = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        symbol = ome_symbol(unit) or (None if axis == "T" else UNKNOWN_LENGTH)
        if axis in "TZYX" and symbol and (axis != "T" or unit != PIXEL):
            metadata |= {key: size, f"{key}Unit": symbol}
    tiles = (512, 512) if min(labels.shape[-2:]) >= 1024 else None
    tifffile.imwrite(
        path, labels, ome=True, metadata=metadata, compression="zlib", tile=tiles, photometric="minisblack"
    )
