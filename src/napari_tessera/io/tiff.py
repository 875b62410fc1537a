"""Read TIFF, OME-TIFF (with its OME-XML) and ImageJ TIFF, in memory or piece by piece; write labels."""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import tifffile
import zarr

from napari_tessera.core.errors import FileError, visible
from napari_tessera.core.file_checks import check_exists, check_fits, check_regular, named_file, read_text
from napari_tessera.core.spatial import PIXEL, Spatial
from napari_tessera.io.image_file import Place, Reading, choose_image, imagej_unit, ome_symbol, sized, unit_name
from napari_tessera.io.tiff_page_checks import as_meant, check_stored, planes_by_offset

OPEN_AT_A_TIME = 4


@dataclass(frozen=True, eq=False)
class StoredTiff:
    """One level of an image of a TIFF file, whose path is absolute."""

    path: Path
    series: int
    level: int
    array: Any  # tifffile's zarr array of its pixels, which cannot be pickled

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
        return open_again, (self.path, self.series, self.level, self.shape, str(self.dtype))


def open_again(path: Path, series: int, level: int, shape: tuple[int, ...], dtype: str) -> StoredTiff:
    """Open a file again in another process. Raises `FileNotFoundError` if it does not exist, or is another file."""
    stored = StoredTiff(path, series, level, _opened_level(path, series, level, path.stat().st_mtime_ns))
    if (stored.shape, str(stored.dtype)) != (shape, dtype):
        raise FileNotFoundError(2, "The file has another image", str(path))
    return stored


@lru_cache(OPEN_AT_A_TIME)
def _opened_level(path: Path, series: int, level: int, _written_ns: int) -> Any:
    return zarr.open_array(tifffile.imread(path, aszarr=True, series=series, level=level), mode="r")


LAZY_FROM_BYTES = 2**30
LARGEST_CLASSIC_TIFF_BYTES = 2**32 - 2**25
MICROMETRES = {2: 25_400, 3: 10_000}
"""Lengths of the units of resolution, inch and centimetre."""
INCH = 2
SCREENS_PER_INCH = {1, 72, 96}
"""Pixels per inch that programs write without a pixel size."""
MICROMETRES_PER_PIXEL = re.compile(r"\bMPP\s*=\s*([0-9.]+)")
"""As Aperio's scanners describe a slide; both sides of a pixel are equal."""
GIVEN_NAME = re.compile(r"\s*|Image ?:?\d*|\d+|Series ?\d+|Page\d+|Baseline|Generic.*", re.IGNORECASE)
"""Names that tifffile or writers give to images without one."""
XMP = 700
NDTIFF_INDEX = "NDTiff.index"
SIDE_IMAGES = ("thumbnail", "label", "macro", "map", "overview")
"""Names in tifffile and OME-XML of the extra images of a slide scanner."""
SIGNS_OF_MISSING_PAGES = ("failed to reshape", "invalid or corrupted")


def read_tiff(path: Path, level: int, series: int | str | None = None, *, as_labels: bool = False) -> Reading:
    """Read an image of a TIFF file, by default the largest; one of a gigabyte or more is a dask array.

    The pixel size comes from OME-XML, from ImageJ's description, from Zeiss LSM, from a slide scanner's text (MPP), or
    from resolution tags in pixels per centimetre or inch, except for 1, 72 and 96 pixels per inch, which are those of
    screens. Colours are converted by `as_meant`.
    """
    planes = {path.resolve(): planes_by_offset(path)}
    with _noticing_missing_pages(), _opened(path) as (file, root):
        others = _others(path, file, root)
        planes |= {each.resolve(): planes_by_offset(each) for each in others if each.exists() and check_regular(each)}
        choice = choose_image(_images(file), series, count=len(file.series))
        whole = file.series[choice.number]
        if not 0 <= level < (count := len(whole.levels)):
            raise FileError(f"It has the resolution levels 0 to {count - 1}, but level {level} was requested.")
        chosen = whole.levels[level]
        pages = [] if chosen.dataoffset is not None else list(chosen)
        _check_complete(pages, chosen.axes, chosen.shape, others)
        check_stored(chosen, pages, planes)
        if chosen.nbytes < LAZY_FROM_BYTES:
            check_fits(chosen.nbytes)
            data = chosen.asarray()
            if data.shape != tuple(chosen.shape):
                raise ValueError(f"its pixels have shape {data.shape}, but its header says {tuple(chosen.shape)}")
        else:
            data = _lazily(whole, choice.number, level)
        places = _places_of(chosen, whole, _places(file, root, choice.number))
        reading = Reading(data, chosen.axes, places, channel_names=_channel_names(root, choice.number))
        has_display_colours = bool(file.is_imagej or file.is_ome or file.is_lsm)
        reading = as_meant(reading, chosen.keyframe, as_labels=as_labels, has_display_colours=has_display_colours)
        return choice.told_with(reading)


def describe_tiff(path: Path, series: int) -> tuple[Mapping[int, str], tuple[str, ...]]:
    """Return what a file holds, without its pixels: its images, {} for one, and the names of an image's channels."""
    with _opened(path) as (file, root):
        return choose_image(_images(file), series, count=len(file.series)).images, _channel_names(root, series)


def _images(file: tifffile.TiffFile) -> dict[int, tuple[str, Sequence[int]]]:
    """Return the name and the shape of each image, by its number."""
    listed = [(each, item) for each, item in enumerate(file.series) if each == 0 or _is_image(item)]
    return {each: (_name(item), _shape_without_samples(item)) for each, item in listed}


def _shape_without_samples(series: tifffile.TiffPageSeries) -> list[int]:
    return [size for axis, size in zip(series.axes, series.shape, strict=True) if axis != "S"]


def _name(series: tifffile.TiffPageSeries) -> str:
    return visible(series.name) if series.name and not GIVEN_NAME.fullmatch(series.name) else ""


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
        return _other_files(path, root)
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
        companion = None if root is None else _companion_text(path, root)
        if companion is None:
            yield file, root
            return
    root = _parse_xml(companion)
    _check_counts(root)
    with tifffile.TiffFile(path, omexml=companion) as file:
        yield file, root


def _ome(file: tifffile.TiffFile) -> Element | None:
    """Return the OME-XML of a file, after checking all XML that tifffile parses."""
    if not file.pages:
        raise ValueError("it has no planes")
    page = file.pages.first
    for text in (page.description, page.description1, str(page.tags.valueof(XMP, ""))):
        _check_plain(text)
    if not file.is_ome:
        return None
    root = _parse_xml(page.description)
    _check_counts(root)
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


def _lazily(series: tifffile.TiffPageSeries, number: int, level: int) -> Any:
    """Return a dask array, which opens the file again when it is read."""
    import dask.array

    array: Any = zarr.open_array(series.aszarr(level=level), mode="r")
    path = Path(series.keyframe.parent.filehandle.path).absolute()
    return dask.array.from_array(StoredTiff(path, number, level, array), chunks=array.chunks)


def _places(file: tifffile.TiffFile, root: Element | None, number: int) -> dict[str, Place]:
    if root is not None:
        return _ome_places(root, number)
    if file.is_lsm and file.lsm_metadata:
        voxel = file.lsm_metadata
        return {axis: sized(voxel.get(f"VoxelSize{axis}", 0) * 1e6, "micrometer") for axis in "ZYX"}
    if file.imagej_metadata and "unit" in file.imagej_metadata:
        return _imagej_places(file)
    if found := MICROMETRES_PER_PIXEL.search(file.pages.first.description):
        return {axis: sized(found[1], "micrometer") for axis in "YX"}
    unit, sizes = file.pages.first.tags.valueof("ResolutionUnit"), _pixel_size(file)
    if unit not in MICROMETRES or (unit == INCH and {1 / size for size in sizes.values() if size} <= SCREENS_PER_INCH):
        return {}
    return {axis: sized(size and size * MICROMETRES[unit], "micrometer") for axis, size in sizes.items()}


def _imagej_places(file: tifffile.TiffFile) -> dict[str, Place]:
    metadata = file.imagej_metadata or {}
    sizes = {"Z": metadata.get("spacing", 1.0), **_pixel_size(file)}  # ImageJ leaves out a distance of 1
    places = {axis: sized(size, unit_name(metadata["unit"])) for axis, size in sizes.items()}
    return places | {"T": sized(metadata.get("finterval"), unit_name(metadata.get("tunit", "sec")))}


def _pixel_size(file: tifffile.TiffFile) -> dict[str, float | None]:
    """Return the reciprocal of the resolution tags along Y and X; None without a value."""
    sizes: dict[str, float | None] = {}
    for axis in "YX":
        pixels, per_units = file.pages.first.tags.valueof(f"{axis}Resolution", (0, 0))
        sizes[axis] = per_units / pixels if pixels else None
    return sizes


MOST_PLANES = 10_000_000
"""A list of this many planes needs 80 MB."""


def _parse_xml(text: str) -> Element:
    """Parse XML without a document type. Raises `ValueError` if it has a document type, or is not XML."""
    _check_plain(text)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"its OME-XML is damaged: {error}") from error


def _check_plain(text: str) -> None:
    """Refuse XML with a document type: no microscope writes one, and its entities can expand endlessly."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("its XML has a document type (DOCTYPE), which is not read")


def _companion_text(path: Path, root: Element) -> str | None:
    """Return the OME-XML of the companion file of a set, which must exist; None if the file's own is complete."""
    for element in root.iterfind("{*}BinaryOnly"):
        name = element.get("MetadataFile", "")
        companion = named_file(path.parent, name)
        if not name or not companion.is_file():
            raise FileError(
                f"Its planes are described in the file {name!r}, which is not beside it. Put it there, or "
                "save the planes as a plain TIFF."
            )
        return read_text(check_exists(companion))
    return None


def _other_files(path: Path, root: Element) -> list[Path]:
    """Return the files other than `path` that contain planes, also missing ones; refuse those in another folder."""
    own = root.get("UUID")
    others = [element for element in _ending(root, "UUID") if own is None or element.text != own]
    names = dict.fromkeys(element.get("FileName", "") for element in others)
    return [named_file(path.parent, name) for name in names if name and name.lower() != path.name.lower()]


def _ending(root: Element, name: str) -> Iterator[Element]:
    """Yield the elements whose name ends with `name`, in any namespace, as tifffile finds them."""
    return (element for element in root.iter() if str(element.tag).endswith(name))


def _check_counts(root: Element) -> None:
    """Refuse OME-XML with an impossible number of planes, before lists of that length are made."""
    planes = 0
    for pixels in _ending(root, "Pixels"):
        sizes = [int(pixels.get(f"Size{axis}", 1)) for axis in "TCZYX"]
        if min(sizes) < 1:
            raise ValueError(f"its OME-XML has the sizes {sizes}")
        planes += math.prod(sizes[:3])
    planes += sum(_planes(element) for element in _ending(root, "TiffData"))
    planes += sum(_labels(element) for element in root.iter() if "Along" in str(element.tag))
    if planes > MOST_PLANES:
        raise ValueError(f"its OME-XML lists {planes:,} planes")


def _planes(element: Element) -> int:
    return max(int(element.get(name, 0)) for name in ("NumPlanes", "PlaneCount"))


def _labels(element: Element) -> int:
    """Return the number of steps of an axis within an axis."""
    start, end, step = (float(element.get(name, usual)) for name, usual in (("Start", 0), ("End", 0), ("Step", 1)))
    count = abs(end - start) / abs(step) if step else math.inf
    return int(min(count, MOST_PLANES + 1)) if not math.isnan(count) else MOST_PLANES + 1


def _check_complete(pages: Sequence[object], axes: str, shape: Sequence[int], files: Sequence[Path]) -> None:
    """Refuse an image with missing planes, which would be read as black; name the first, and missing files."""
    gone = [number for number, page in enumerate(pages) if page is None]
    if not gone:
        return
    missing = [f"{each.name!r}" for each in files if not each.exists()]
    reason = (
        f", because the files it names are not beside it: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}. "
        "Put them there, or save the image again without them."
        if missing
        else ". Copy it again, or save it again without them."
    )
    raise FileError(
        f"It lacks {len(gone)} of its {len(pages)} planes, the first at {_at(gone[0], axes, shape)}{reason}"
    )


def _at(number: int, axes: str, shape: Sequence[int]) -> str:
    outer = [(axis, size) for axis, size in zip(axes, shape, strict=True) if axis not in "YXS"]
    if math.prod(size for _, size in outer) <= number:
        return f"plane {number}"
    place = np.unravel_index(number, [size for _, size in outer])
    return ", ".join(f"{axis} {int(index)}" for (axis, _), index in zip(outer, place, strict=True))


def _ome_places(root: Element, number: int) -> dict[str, Place]:
    """Return the pixel size of an image, and the time between its frames."""
    images = root.findall(".//{*}Image/{*}Pixels")
    given = images[number].attrib if number < len(images) else {}
    keys = {axis: f"PhysicalSize{axis}" for axis in "ZYX"} | {"T": "TimeIncrement"}
    return {
        axis: sized(given.get(key), unit_name(given.get(f"{key}Unit", "s" if axis == "T" else "µm")))
        for axis, key in keys.items()
    }


def _channel_names(root: Element | None, number: int) -> tuple[str, ...]:
    """Return the names of an image's channels, as OME-XML gives them; empty unless every channel has one."""
    images = [] if root is None else root.findall(".//{*}Image/{*}Pixels")
    channels = images[number].findall("{*}Channel") if number < len(images) else []
    names = tuple(visible(each.get("Name", "")) for each in channels)
    return names if all(names) else ()


def write_tiff(
    path: Path, labels: np.ndarray, spatial: Spatial, *, as_ome: bool = False, axes: str | None = None
) -> None:
    """Write labels or probabilities with their pixel size, zlib-compressed, as BigTIFF above 4 GB.

    OME-TIFF is written if `as_ome`, or if ImageJ's format cannot hold the labels (more than 65,535 of them, more than 4
    GB, or an unknown axis). `axes` names the channel axis of an integer image.
    """
    labels, axes = labels if labels.dtype == np.float32 else _smallest_unsigned(labels), axes or spatial.axes
    fits_imagej = labels.dtype in (np.uint16, np.float32) and labels.nbytes < LARGEST_CLASSIC_TIFF_BYTES
    is_in_order = [axis for axis in "TZCYX" if axis in axes] == list(axes)
    if as_ome or not (fits_imagej and is_in_order):
        _write_ome(path, labels, spatial, axes)
    else:
        _write_imagej(path, labels, spatial, axes)


def _smallest_unsigned(labels: np.ndarray) -> np.ndarray:
    """Return labels as uint16, or uint32 if the numbers are larger; refuse those that need more than 32 bits."""
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
