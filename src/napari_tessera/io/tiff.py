"""TIFF, OME-TIFF and ImageJ TIFF."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_tessera.errors import FileError
from napari_tessera.io.picture import Place, Reading, sized
from napari_tessera.io.units import imagej_unit, ome_symbol, unit_name
from napari_tessera.spatial import PIXEL, Spatial

LAZY_FROM_BYTES = 2**30
LARGEST_CLASSIC_TIFF_BYTES = 2**32 - 2**25
LARGEST_COMPRESSION = 10_000
CENTIMETRE = 3
SIGNS_OF_MISSING_PAGES = ("invalid page offset", "failed to reshape", "invalid or corrupted")


def read_tiff(path: Path, level: int) -> Reading:
    """Read the first image of a TIFF file; one of a gigabyte or more comes as a dask array.

    The pixel size comes from OME-XML, from ImageJ's description, from Zeiss LSM, or from resolution tags in
    pixels per centimetre. Pixels per inch are a printer's setting and are ignored.
    """
    with _noticing_missing_pages(), tifffile.TiffFile(path) as file:
        series = file.series[0]
        if not 0 <= level < len(series.levels):
            raise FileError(
                f"It has the resolution levels 0 to {len(series.levels) - 1}, but level {level} was asked for."
            )
        chosen = series.levels[level]
        if chosen.nbytes > LARGEST_COMPRESSION * path.stat().st_size:
            raise ValueError(f"it says that it holds {chosen.nbytes / 1e6:.0f} MB of pixels, which cannot be in it")
        shrunk = {axis: full / small for axis, full, small in zip(series.axes, series.shape, chosen.shape, strict=True)}
        places = {
            axis: Place(place.size * shrunk.get(axis, 1.0), place.offset, place.unit)
            for axis, place in _places(file).items()
        }
        axes = chosen.axes
        if chosen.nbytes < LAZY_FROM_BYTES:
            return Reading(_checked(chosen.asarray(), chosen.shape), axes, places)
    return Reading(_open_lazily(path, level), axes, places)


class _Complaints(logging.Handler):
    """Keeps what tifffile logs in this thread; also keeps it from being printed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self.thread_reading = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread_reading:
            self.texts.append(record.getMessage())


@contextmanager
def _noticing_missing_pages() -> Iterator[None]:
    """Raise where tifffile only logs that pages are missing, and would give the first plane of a stack that was cut."""
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
        raise ValueError(f"its pixels have shape {data.shape}, but it says {tuple(shape)}")
    return data


def _open_lazily(path: Path, level: int) -> Any:
    import dask.array
    import zarr

    return dask.array.from_zarr(zarr.open_array(tifffile.imread(path, aszarr=True, level=level), mode="r"))


def _places(file: tifffile.TiffFile) -> dict[str, Place]:
    if file.is_ome and file.ome_metadata:
        return _ome_places(file.ome_metadata)
    if file.is_lsm and file.lsm_metadata:
        voxel = file.lsm_metadata
        return {axis: sized(voxel.get(f"VoxelSize{axis}", 0) * 1e6, "micrometer") for axis in "ZYX"}
    if file.imagej_metadata and "unit" in file.imagej_metadata:
        return _imagej_places(file)
    return _resolution_places(file)


def _ome_places(xml: str) -> dict[str, Place]:
    pixels = ElementTree.fromstring(xml).find(".//{*}Image/{*}Pixels")
    said = {} if pixels is None else pixels.attrib
    places = {
        axis: sized(said.get(f"PhysicalSize{axis}"), unit_name(said.get(f"PhysicalSize{axis}Unit", "µm")))
        for axis in "ZYX"
    }
    return places | {"T": sized(said.get("TimeIncrement"), unit_name(said.get("TimeIncrementUnit", "s")))}


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
    """Reciprocal of the resolution tags along Y and X; None where they say nothing."""
    sizes: dict[str, float | None] = {}
    for axis in "YX":
        tag = file.pages.first.tags.get(f"{axis}Resolution")
        pixels, per_units = tag.value if tag is not None else (0, 0)
        sizes[axis] = per_units / pixels if pixels else None
    return sizes


def write_tiff(
    path: Path, labels: np.ndarray, spatial: Spatial, *, as_ome: bool = False, axes: str | None = None
) -> None:
    """Write labels or probabilities with their pixel size, zlib-compressed, as BigTIFF where they need more than 4 GB.

    OME-TIFF is written if `as_ome`, or where ImageJ's own format cannot hold the labels (more than 65,535 of them,
    more than 4 GB, or an axis it does not know). `axes` says where channels are, for an image of whole numbers.
    """
    labels, axes = labels if labels.dtype == np.float32 else smallest_unsigned(labels), axes or spatial.axes
    fits_imagej = labels.dtype in (np.uint16, np.float32) and labels.nbytes < LARGEST_CLASSIC_TIFF_BYTES
    is_in_order = [axis for axis in "TZCYX" if axis in axes] == list(axes)
    if as_ome or not (fits_imagej and is_in_order):
        _write_ome(path, labels, spatial, axes)
    else:
        _write_imagej(path, labels, spatial, axes)


def smallest_unsigned(labels: np.ndarray) -> np.ndarray:
    """Return labels as uint16, or uint32 where the numbers are larger.

    Raises
    ------
    FileError
        If they need more than 32 bits.
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


def _write_ome(path: Path, labels: np.ndarray, spatial: Spatial, axes: str) -> None:
    metadata: dict[str, Any] = {"axes": axes}
    for axis, (size, unit) in _by_axis(spatial).items():
        key = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
        symbol = ome_symbol(unit)
        if axis in "TZYX" and symbol and (axis != "T" or unit != PIXEL):
            metadata |= {key: size, f"{key}Unit": symbol}
    tiles = (512, 512) if min(labels.shape[-2:]) >= 1024 else None
    tifffile.imwrite(
        path, labels, ome=True, metadata=metadata, compression="zlib", tile=tiles, photometric="minisblack"
    )
