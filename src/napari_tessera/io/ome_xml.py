"""Parse the OME-XML of a TIFF file: its planes, their files, and the pixel size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from napari_tessera.core.errors import FileError
from napari_tessera.core.file_checks import check_exists, named_file, read_text
from napari_tessera.io.image_file import Place, sized, unit_name

MOST_PLANES = 10_000_000
"""A list of this many planes needs 80 MB."""


def parse_xml(text: str) -> Element:
    """Parse XML without a document type. Raises `ValueError` if it has a document type, or is not XML."""
    check_plain(text)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"its OME-XML is damaged: {error}") from error


def check_plain(text: str) -> None:
    """Refuse XML with a document type: no microscope writes one, and its entities can expand endlessly."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("its XML has a document type (DOCTYPE), which is not read")


def companion_text(path: Path, root: Element) -> str | None:
    """Return the OME-XML of the companion file of a set; None if the file's own OME-XML is complete.

    Raises `FileError` if the companion does not exist.
    """
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


def other_files(path: Path, root: Element) -> list[Path]:
    """Return the files other than `path` that contain planes, also missing ones.

    Raises `FileError` if one is in another folder.
    """
    own = root.get("UUID")
    names = {
        element.get("FileName", ""): None for element in _ending(root, "UUID") if own is None or element.text != own
    }
    return [named_file(path.parent, name) for name in names if name and name.lower() != path.name.lower()]


def _ending(root: Element, name: str) -> Iterator[Element]:
    """Yield the elements whose name ends with `name`, in any namespace, as tifffile finds them."""
    return (element for element in root.iter() if str(element.tag).endswith(name))


def check_counts(root: Element) -> None:
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


def check_complete(pages: Sequence[object], axes: str, shape: Sequence[int], files: Sequence[Path]) -> None:
    """Refuse an image with missing planes, which would be read as black.

    Raises `FileError`, naming the first missing plane, and the missing files.
    """
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


def ome_places(root: Element) -> dict[str, Place]:
    """Return the pixel size of the first image, and the time between its frames."""
    pixels = root.find(".//{*}Image/{*}Pixels")
    said = {} if pixels is None else pixels.attrib
    places = {
        axis: sized(said.get(f"PhysicalSize{axis}"), unit_name(said.get(f"PhysicalSize{axis}Unit", "µm")))
        for axis in "ZYX"
    }
    return places | {"T": sized(said.get("TimeIncrement"), unit_name(said.get("TimeIncrementUnit", "s")))}
