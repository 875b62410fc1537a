"""Read and write COCO's panoptic format: one JSON for all images, and one PNG of segment numbers per image.

Format: https://cocodataset.org/#format-data, "Panoptic Segmentation". A pixel's number is R + 256 G + 65,536 B; 0 is
void. The PNG files lie in a folder beside the JSON, with the same name without the suffix.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import fastremap
import numpy as np
from PIL import Image

from napari_tessera.core.atomic_writes import NEW, check_free, explain_refusal, move_together, working_folder
from napari_tessera.core.errors import FileError, short, visible
from napari_tessera.core.file_checks import (
    check_can_hold,
    check_exists,
    check_name,
    explain_damage,
    named_file,
    parse_json,
    read_text,
)
from napari_tessera.core.labels import Segments

LARGEST_NUMBER = 2**24 - 1
"""Largest number in three bytes."""


def write_coco_panoptic(
    path: str | Path, images: Iterable[tuple[str, Segments]], *, overwrite: bool = False, inputs: Iterable[Path] = ()
) -> list[Path]:
    """Write segmented images as COCO panoptic JSON and PNG.

    Parameters
    ----------
    path : str or Path
        The JSON file; the PNG files go into a folder of its name.
    images : iterable of (name, Segments)
        Name of the image's file, such as "cells.tif", and its segments. They may be made one by one.
    overwrite : bool
        Replace existing files.
    inputs : paths
        Files that were read and must not be overwritten.

    Returns
    -------
    list of Path
        The written files, the JSON first.

    Raises
    ------
    FileError
        If an image is not a plane or has too many segments, or the files cannot be written.
    """
    with CocoPanopticWriter(path, overwrite=overwrite, inputs=inputs) as writer:
        for name, segments in images:
            writer.add(name, segments)
        return writer.finish()


class CocoPanopticWriter:
    """Writes the PNG of each image, and at the end of a `with` block moves all files and the JSON into place.

    Meanwhile no other process writes the same files. Added images are kept even if the block fails.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".json":
            raise FileError(f"{self.path} must end in .json: it describes the PNG files, which lie beside it.")
        self.folder = self.path.with_suffix("")
        self._overwrite, self._inputs = overwrite, tuple(inputs)
        self._categories: dict[str, dict[str, Any]] = {}
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._work = Path()
        self._at_end = ExitStack()
        check_free([self.path], overwrite=overwrite, inputs=self._inputs)

    def __enter__(self) -> Self:
        self._work = self._at_end.enter_context(working_folder(self.path.parent, self.path))
        return self

    def __exit__(self, *_: object) -> None:
        with self._at_end:
            if self._images:
                self.finish()

    def planned_files(self, names: Iterable[str]) -> list[Path]:
        """Return the files that will be written for images of these names, the JSON first; refuse files in the way."""
        files = [self.path, *(self._png_of(name) for name in names)]
        check_free(files, overwrite=self._overwrite, inputs=self._inputs)
        return files

    def _png_of(self, name: str) -> Path:
        return self.folder / f"{Path(name).stem}.png"

    def add(self, name: str, segments: Segments) -> Path:
        """Write the PNG of one image, and return its final path."""
        _check_fits(name, segments)
        number = len(self._images) + 1
        file = self._png_of(name)
        if any(each["file_name"] == file.name for each in self._annotations):
            raise FileError(f"Two images are named {file.stem}; their segments would overwrite each other.")
        check_free([file], overwrite=self._overwrite, inputs=self._inputs)
        described = self._described(segments)
        part = self._work / NEW / file.relative_to(self.path.parent)
        with explain_refusal(self.path.parent):
            part.parent.mkdir(exist_ok=True)
            part.write_bytes(_as_png(segments.labels))
        height, width = segments.labels.shape
        self._images.append({"id": number, "file_name": name, "width": width, "height": height})
        self._annotations.append({"image_id": number, "file_name": file.name, "segments_info": described})
        return file

    def finish(self) -> list[Path]:
        """Write the JSON, move all files into place, and return them, the JSON first."""
        content = {
            "info": {"description": "Panoptic segmentation by Tessera"},
            "images": self._images,
            "annotations": self._annotations,
            "categories": list(self._categories.values()),
        }
        files = [self.path, *(self.folder / each["file_name"] for each in self._annotations)]
        with explain_refusal(self.path.parent):
            (self._work / NEW / self.path.name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        move_together(self._work, files, overwrite=self._overwrite)
        self._images = []
        return files

    def _described(self, segments: Segments) -> list[dict[str, Any]]:
        """Describe the segments that have pixels."""
        places = _places(segments.labels)
        described = []
        for row, number in enumerate(segments.numbers.tolist()):
            if number in places:
                category = self._category(str(segments.classes[row]), bool(segments.is_thing[row]))
                is_crowd, score = int(segments.is_crowd[row]), float(segments.scores[row])
                entry = {"id": number, "category_id": category, **places[number], "iscrowd": is_crowd}
                described.append(entry if np.isnan(score) else {**entry, "score": score})
        return described

    def _category(self, name: str, is_thing: bool) -> int:
        """Return the number of a class; a new class gets a new number."""
        new = {"id": len(self._categories) + 1, "name": name, "isthing": int(is_thing)}
        return int(self._categories.setdefault(name, new)["id"])


def _check_fits(name: str, segments: Segments) -> None:
    if segments.labels.ndim != 2:
        raise FileError(
            f"{name} has shape {segments.labels.shape}, but COCO's panoptic format holds planes (y, x). Write its "
            "planes one by one, or write .tif or .ome.zarr."
        )
    largest = int(segments.labels.max(initial=0))
    if largest > LARGEST_NUMBER:
        raise FileError(f"{name} has the segment {largest}, but COCO's panoptic format goes up to {LARGEST_NUMBER}.")


def _as_png(labels: np.ndarray) -> bytes:
    colours = np.stack([labels >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)  # (Y, X, 3)
    file = io.BytesIO()
    Image.fromarray(colours).save(file, format="PNG")
    return file.getvalue()


def _places(labels: np.ndarray) -> dict[int, dict[str, Any]]:
    """Return the pixel count and the box (x, y, width, height) of each segment."""
    from scipy import ndimage

    consecutive, new_numbers = fastremap.renumber(labels, preserve_zero=True)
    pixels = np.bincount(consecutive.reshape(-1))
    boxes = ndimage.find_objects(consecutive)
    found = {}
    for old, new in new_numbers.items():
        if old:
            rows, columns = boxes[int(new) - 1]
            box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
            found[int(old)] = {"area": int(pixels[int(new)]), "bbox": box}
    return found


WORD_SIZE = 256
LARGEST_JSON_BYTES = 2**31
"""Five times the size of the file of COCO's 118,287 training images."""


@dataclass(frozen=True)
class CocoPanoptic(Sequence[Segments]):
    """Segmented images of a COCO panoptic file; each PNG is read when its image is accessed."""

    path: Path  # the JSON file
    folder: Path  # of the PNG files
    annotations: list[dict[str, Any]] = field(repr=False)  # one per image, as in the JSON, checked
    categories: dict[int, dict[str, Any]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        return self._segments(self.annotations[number])

    @property
    def names(self) -> list[str]:
        """Name of each image: that of its PNG file without the suffix."""
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
    """Read a COCO panoptic JSON; each PNG is read when its image is accessed.

    Parameters
    ----------
    path : str or Path
    folder : str or Path, optional
        Folder of the PNG files; by default a folder beside the JSON with its name, or the JSON's folder.

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
    if folder is None:
        beside = path.with_suffix("")
        folder = beside if beside.is_dir() else path.parent
    return CocoPanoptic(path, check_exists(folder, may_be_folder=True, sought="folder"), annotations, categories)


def read_numbers(path: Path) -> np.ndarray:
    """Read the numbers of a COCO panoptic PNG, an 8-bit colour image: (Y, X) int32."""
    check_exists(path)
    with explain_damage(path, "a COCO panoptic PNG"), Image.open(path, formats=("PNG",)) as picture:
        check_can_hold(path.stat().st_size, picture.width * picture.height * len(picture.getbands()))
        if picture.mode not in ("RGB", "RGBA"):
            raise FileError(
                f"It is an image of mode {picture.mode}, but segments are stored as colours: number = R + 256 G + "
                "65536 B. If it holds labels, evaluate it as a label image."
            )
        colours = np.asarray(picture.convert("RGB"), np.int32)  # (Y, X, 3)
    return np.ascontiguousarray(colours @ np.array([1, WORD_SIZE, WORD_SIZE**2], np.int32))


def _checked_categories(content: Any) -> dict[int, dict[str, Any]]:
    """Check the structure of the file, and return its categories by number."""
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise FileError('It is not a COCO panoptic file: it has no list "annotations".')
    if any(isinstance(entry, dict) and "segmentation" in entry for entry in content["annotations"][:1]):
        raise FileError('It holds COCO instances (polygons or masks), not panoptic segments ("segments_info").')
    entries = content.get("categories")
    if not isinstance(entries, list):
        raise FileError('It is not a COCO panoptic file: it has no list "categories".')
    categories: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if not (isinstance(entry, dict) and isinstance(entry.get("id"), int) and "name" in entry):
            raise FileError(f"The category {short(entry)} lacks a number (id) or a name.")
        if entry.get("isthing") not in (0, 1):
            raise FileError(f'The category {short(entry)} must have "isthing" 0 or 1.')
        if entry["id"] in categories:
            raise FileError(f"The category {entry['id']} appears twice.")
        categories[entry["id"]] = entry
    _check_kinds(categories.values())
    return categories


def _check_kinds(categories: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a name that is both thing and stuff: classes are identified by their names."""
    kinds: dict[str, int] = {}
    for entry in categories:
        name = str(entry["name"])
        if kinds.setdefault(name, entry["isthing"]) != entry["isthing"]:
            raise FileError(f"The categories named {name!r} are both things and stuff. Give them two names.")


def _checked_annotation(entry: Any, categories: Mapping[int, Any]) -> dict[str, Any]:
    if not (isinstance(entry, dict) and isinstance(entry.get("file_name"), str)):
        raise FileError(f'The annotation {short(entry)} names no PNG file ("file_name").')
    name, segments = entry["file_name"], entry.get("segments_info")
    check_name(name)
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise FileError(f'The annotation of {name} has no list "segments_info".')
    numbers: set[int] = set()
    for segment in segments:
        number = segment.get("id")
        if not isinstance(number, int) or not 0 < number <= LARGEST_NUMBER or number in numbers:
            raise FileError(f"{name}: the segment {short(segment)} needs a unique number from 1 to {LARGEST_NUMBER}.")
        if segment.get("category_id") not in categories:
            raise FileError(f"{name}: the segment {number} has an unknown category.")
        numbers.add(number)
    return entry


def _check_same(file: Path, path: Path, numbers: np.ndarray, labels: np.ndarray) -> None:
    """Refuse a PNG and a JSON with different segments."""
    in_picture = np.setdiff1d(np.unique(labels), [0])
    for missing, text in (
        (np.setdiff1d(in_picture, numbers), f"{file} has pixels of segment {{}}, which {path} does not describe."),
        (np.setdiff1d(numbers, in_picture), f"{path} describes segment {{}}, which has no pixel in {file}."),
    ):
        if len(missing):
            raise FileError(text.format(missing[0]) + " Both must be of the same image.")
