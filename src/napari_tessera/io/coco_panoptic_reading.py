"""Read COCO's panoptic format; see `io.coco_panoptic` for what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_tessera.errors import FileError
from napari_tessera.escaping import visible
from napari_tessera.io.coco_panoptic import LARGEST_NUMBER
from napari_tessera.io.open_files import (
    check_can_hold,
    check_exists,
    check_name,
    explain_damage,
    named_file,
    read_text,
)
from napari_tessera.io.strict_json import parse_json
from napari_tessera.segments import Segments

WORD_SIZE = 256
LARGEST_JSON_BYTES = 2**31
"""That of COCO's 118,287 training images has a fifth of it."""


@dataclass(frozen=True)
class CocoPanoptic(Sequence[Segments]):
    """Segmented images of a COCO panoptic file; the PNG of each is read when it is asked for.

    Attributes
    ----------
    path : Path
        The JSON file.
    folder : Path
        Where the PNG files lie.
    annotations : list of dict
        One per image, as in the JSON, checked.
    categories : dict of int to dict
    """

    path: Path
    folder: Path
    annotations: list[dict[str, Any]] = field(repr=False)
    categories: dict[int, dict[str, Any]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        return self._segments(self.annotations[number])

    @property
    def names(self) -> list[str]:
        """Name of each image: that of its PNG file without the ending."""
        return [Path(annotation["file_name"]).stem for annotation in self.annotations]

    def _segments(self, annotation: Mapping[str, Any]) -> Segments:
        with explain_damage(self.path, "a COCO panoptic file"):
            file = named_file(self.folder, annotation["file_name"])
        labels = read_numbers(file)
        entries = annotation["segments_info"]
        numbers = np.array([entry["id"] for entry in entries], np.int64)
        _check_same(file, self.path, numbers, labels)
        categories = [self.categories[entry["category_id"]] for entry in entries]
        return Segments(
            labels=labels,
            numbers=numbers,
            classes=np.array([visible(str(category["name"])) for category in categories], str),
            is_thing=np.array([bool(category["isthing"]) for category in categories], bool),
            is_crowd=np.array([bool(entry.get("iscrowd", 0)) for entry in entries], bool),
            scores=np.array([float(entry.get("score", np.nan)) for entry in entries], float),
        )


def read_coco_panoptic(path: str | Path, folder: str | Path | None = None) -> CocoPanoptic:
    """Read a COCO panoptic JSON; the PNG files are read as the images are asked for.

    Parameters
    ----------
    path : str or Path
    folder : str or Path, optional
        Where the PNG files lie, if not in a folder beside the JSON of its name, nor beside it.

    Returns
    -------
    CocoPanoptic
        A sequence of `Segments`, with the names of the images.

    Raises
    ------
    FileError
        If the file is missing, damaged or of another kind, or its entries contradict each other.
    """
    path = check_exists(path)
    with explain_damage(path, "a COCO panoptic file"):
        content = parse_json(read_text(path, largest_bytes=LARGEST_JSON_BYTES))
        categories = _checked_categories(content)
        annotations = [_checked_annotation(entry, categories) for entry in content["annotations"]]
    beside = path.with_suffix("")
    return CocoPanoptic(path, _folder(path, beside, folder), annotations, categories)


def read_numbers(path: Path) -> np.ndarray:
    """Read the numbers of a COCO panoptic PNG, (Y, X) int32.

    Raises
    ------
    FileError
        If it is missing, damaged or no 8-bit colour picture.
    """
    check_exists(path)
    with explain_damage(path, "a COCO panoptic PNG"), Image.open(path, formats=("PNG",)) as picture:
        check_can_hold(path.stat().st_size, picture.width * picture.height * len(picture.getbands()))
        if picture.mode not in ("RGB", "RGBA"):
            raise FileError(
                f"It is a picture of mode {picture.mode}, but segments are written in colours: number = R + 256 G + "
                "65536 B. If it holds labels, evaluate it as a label image."
            )
        colours = np.asarray(picture.convert("RGB"), np.int32)  # (Y, X, 3)
    return np.ascontiguousarray(colours @ np.array([1, WORD_SIZE, WORD_SIZE**2], np.int32))


def _folder(path: Path, beside: Path, given: str | Path | None) -> Path:
    if given is None:
        return beside if beside.is_dir() else path.parent
    return check_exists(given, may_be_folder=True, sought="folder")


def _checked_categories(content: Any) -> dict[int, dict[str, Any]]:
    """Check what the file is as a whole; return its categories by number."""
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise FileError('It is no COCO panoptic file: it has no list "annotations".')
    if any(isinstance(entry, dict) and "segmentation" in entry for entry in content["annotations"][:1]):
        raise FileError('It holds COCO instances (polygons or masks), not panoptic segments ("segments_info").')
    entries = content.get("categories")
    if not isinstance(entries, list):
        raise FileError('It is no COCO panoptic file: it has no list "categories".')
    categories: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if not (isinstance(entry, dict) and isinstance(entry.get("id"), int) and "name" in entry):
            raise FileError(f"The category {_short(entry)} lacks a number (id) or a name.")
        if entry.get("isthing") not in (0, 1):
            raise FileError(f'The category {_short(entry)} must say whether it is a thing: "isthing" 0 or 1.')
        if entry["id"] in categories:
            raise FileError(f"The category {entry['id']} is there twice.")
        categories[entry["id"]] = entry
    _check_kinds(categories.values())
    return categories


def _check_kinds(categories: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a name that is both thing and stuff: classes go by their names."""
    kinds: dict[str, int] = {}
    for entry in categories:
        name = str(entry["name"])
        if kinds.setdefault(name, entry["isthing"]) != entry["isthing"]:
            raise FileError(f"The categories named {name!r} are both things and stuff. Give them two names.")


def _checked_annotation(entry: Any, categories: Mapping[int, Any]) -> dict[str, Any]:
    if not (isinstance(entry, dict) and isinstance(entry.get("file_name"), str)):
        raise FileError(f'The annotation {_short(entry)} names no PNG file ("file_name").')
    name, segments = entry["file_name"], entry.get("segments_info")
    check_name(name)
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise FileError(f'The annotation of {name} has no list "segments_info".')
    seen: set[int] = set()
    for segment in segments:
        number = segment.get("id")
        if not isinstance(number, int) or not 0 < number <= LARGEST_NUMBER or number in seen:
            raise FileError(f"{name}: the segment {_short(segment)} has no number of its own, 1 to {LARGEST_NUMBER}.")
        if segment.get("category_id") not in categories:
            raise FileError(f"{name}: the segment {number} has a category that is not among the categories.")
        seen.add(number)
    return entry


def _check_same(file: Path, path: Path, numbers: np.ndarray, labels: np.ndarray) -> None:
    """Refuse a PNG and a JSON that speak of different segments."""
    in_picture = np.setdiff1d(np.unique(labels), [0])
    for missing, text in (
        (np.setdiff1d(in_picture, numbers), f"{file} has pixels of segment {{}}, which {path} does not describe."),
        (np.setdiff1d(numbers, in_picture), f"{path} describes segment {{}}, which has no pixel in {file}."),
    ):
        if len(missing):
            raise FileError(text.format(missing[0]) + " Both must be of the same image.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}…"
