"""COCO's panoptic format: one JSON for all images, and for each a PNG whose colours are the numbers of segments.

Format: https://cocodataset.org/#format-data, "Panoptic Segmentation". A pixel's number is R + 256 G + 65,536 B; 0 is
void. The PNG files lie in a folder beside the JSON that has its name without the ending.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import fastremap
import numpy as np
from PIL import Image

from napari_tessera.errors import FileError
from napari_tessera.io.together import NEW, check_free, explain_refusal, move_together, working_folder
from napari_tessera.segments import Segments

LARGEST_NUMBER = 2**24 - 1
"""What three bytes hold."""


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
        Replace what is there.
    inputs : paths
        Files that were read and must not be overwritten.

    Returns
    -------
    list of Path
        The files written, the JSON first.

    Raises
    ------
    FileError
        If an image is no plane or has too many segments, or the files cannot be written.
    """
    with CocoPanopticWriter(path, overwrite=overwrite, inputs=inputs) as writer:
        for name, segments in images:
            writer.add(name, segments)
        return writer.finish()


class CocoPanopticWriter:
    """Writes the PNG of one image after the other, and at the end of a `with` block moves all into place with the JSON.

    Meanwhile no other process writes the same. All that was added is kept, even if the block fails.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".json":
            raise FileError(f"{self.path} must end in .json: it says what is in the PNG files, which lie beside it.")
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
        """Return the files that will be written for images of these names, the JSON first.

        Raises
        ------
        FileError
            If one of them may not be written.
        """
        files = [self.path, *(self._png_of(name) for name in names)]
        check_free(files, overwrite=self._overwrite, inputs=self._inputs)
        return files

    def _png_of(self, name: str) -> Path:
        return self.folder / f"{Path(name).stem}.png"

    def add(self, name: str, segments: Segments) -> Path:
        """Write the PNG of one image; return where it will lie."""
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
        """Write the JSON, and move all into place; return the files, the JSON first."""
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
        rows = zip(
            segments.numbers.tolist(), segments.classes.tolist(), segments.is_thing.tolist(),
            segments.is_crowd.tolist(), segments.scores.tolist(), strict=True,
        )  # fmt: skip
        described = []
        for number, name, is_thing, is_crowd, score in rows:
            if number in places:
                known = {} if np.isnan(score) else {"score": score}
                category = self._category(name, is_thing)
                entry = {"id": number, "category_id": category, **places[number], "iscrowd": int(is_crowd)}
                described.append({**entry, **known})
        return described

    def _category(self, name: str, is_thing: bool) -> int:
        """Return the number of a class; it gets one when it is first seen."""
        known = self._categories.setdefault(
            name, {"id": len(self._categories) + 1, "name": name, "isthing": int(is_thing)}
        )
        return int(known["id"])


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
    """Say of each segment how many pixels it has, and in which box (x, y, width, height) they lie."""
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
